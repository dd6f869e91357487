"""Records beyond the limit, and quotes that nothing closes: told apart by what the lines behind them look like."""

import tracemalloc
from itertools import chain

import pytest

from shared.contracts.dialect import Dialect
from shared.reading import records as module
from shared.reading.records import MAX_RECORD_BYTES, RecordReader
from tests.reading.tables import batches, read

BARE = Dialect(header_rows=0)
PROSE = b"Some words, and more of them.\nAnother line; it is not a record.\nAnd one more\n"


def summary(data, dialect=BARE, **options):
    """Record number, first line, length and fault of each record."""
    return [
        (
            record.position.record_number,
            record.position.line_number,
            record.byte_length,
            record.fault and record.fault.code,
        )
        for record in read(data, dialect, **options)
    ]


@pytest.mark.parametrize("sizes", [[1], [50], [10_000]])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_long_quoted_cell_is_one_record_and_reading_goes_on_behind_it(sizes, encoding):
    cell = PROSE * 20 + b'and ""quotes"", too'
    lines = [b"1,2,3\n", b'4,"' + cell + b'",6\n', b"7,8,9\n"]
    parts = [line.decode().encode(encoding) for line in lines]
    dialect = Dialect(encoding=encoding, header_rows=0)
    assert summary(b"".join(parts), dialect, sizes=sizes, limit=200) == [
        (1, 1, len(parts[0]), None),
        (2, 2, len(parts[1]), "record_too_large"),
        (3, 63, len(parts[2]), None),
    ]


@pytest.mark.parametrize("sizes", [[1], [50], [10_000]])
def test_a_quote_never_closed_costs_its_own_record_only(sizes):
    lines = [b"1,2,3\n", b'4,"5,6\n', *[b"7,8,9\n"] * 100]
    found = summary(b"".join(lines), sizes=sizes, limit=200)
    assert found[1] == (2, 2, 7, "quote_unterminated")
    assert [fault for *_, fault in found] == [None, "quote_unterminated", *[None] * 100]


def test_the_width_that_was_given_tells_records_from_prose():
    data = b'"' + b"a,b\n" * 100
    given = RecordReader(BARE, width=2, max_record_bytes=64)
    assert sum(map(len, batches(given, data, [50]))) == 100
    other = RecordReader(BARE, width=5, max_record_bytes=64)
    (record,) = chain.from_iterable(batches(other, data, [50]))
    assert record.fault.code == "record_too_large"


def test_records_of_another_width_among_prose_do_not_decide():
    data = b"1,2,3\n" + b'4,"' + (PROSE + b"a,b,c\n") * 20 + b'",6\n7,8,9\n'
    assert [fault for *_, fault in summary(data, limit=200)] == [None, "record_too_large", None]


def test_a_record_of_many_quoted_cells_may_be_too_large():
    data = b'1,2\n"' + b'x\n","' * 100 + b'"\n3,4\n'
    assert [fault for *_, fault in summary(data, limit=64)] == [None, "record_too_large", None]


def test_a_long_cell_may_run_to_the_end_of_the_file():
    data = b'1,2,3\n4,"' + PROSE * 20
    assert summary(data, limit=200) == [(1, 1, 6, None), (2, 2, len(data) - 6, "record_too_large")]


@pytest.mark.parametrize("escape", ['"', "\\"])
def test_the_end_of_a_long_cell_is_sought_by_the_dialect(escape):
    cell = (PROSE + b'say ,"hello",\n'.replace(b'"', escape.encode() + b'"')) * 20
    data = b'1,2,3\n4,"' + cell + b'",6\n7,8,9\n'
    dialect = Dialect(header_rows=0, escape=escape)
    assert [fault for *_, fault in summary(data, dialect, limit=200)] == [None, "record_too_large", None]


def test_a_header_may_be_faulty_too():
    data = b"a," + b"x" * 100 + b"\n1,2\n"
    assert summary(data, Dialect(), limit=20) == [(0, 1, 103, "record_too_large"), (1, 2, 4, None)]


# Bounds


def peak(blocks, **options):
    reader = RecordReader(BARE, **options)
    tracemalloc.start()
    try:
        for block in blocks:
            for batch in reader.feed(block):
                del batch
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("first", "block"),
    [
        (b"", b"x" * (1 << 20)),
        (b"", b"x," * (1 << 19)),
        (b'"', b"x" * (1 << 20)),
        (b"", b'"' * (1 << 20)),
        (b"", b',"x"' * (1 << 18)),
        (b"1,2,3\n", b',"x\n"' * (1 << 18)),
        (b'1,2,3\n4,"', PROSE * (1 << 13)),
    ],
    ids=["line", "fields", "quoted line", "quotes", "quoted fields", "quoted lines", "prose"],
)
def test_memory_of_a_huge_record_is_bounded_by_the_limit(first, block):
    # Of 32 MiB. The window is split before it is known that the record is too large; small fields take most.
    assert peak(chain([first], [block] * 32)) < 22 * MAX_RECORD_BYTES


def test_a_smaller_limit_takes_less():
    block = b"x" * (1 << 16)
    assert peak([block] * 200, max_record_bytes=1 << 16) < 1 << 20


@pytest.mark.parametrize(
    "block",
    [b'"' + b"x\n" * 300_000, b'"x\n' * 100_000, b"\n" * 300_000, b",\n" * 300_000, b"x\n" * 300_000],
    ids=["open", "quoted", "blank", "empty", "short"],
)
def test_memory_is_bounded_for_the_shortest_lines(block):
    assert peak([block] * 3) < 128 << 20


BLOCK = 1 << 16
HOSTILE = {
    "reopened in each line": b'"a\n' + b'b","c\n' * 200_000,
    "open at the end": b'"",\n' * 200_000 + b'"\n',
    "only quotes": b'"' * 1_500_000,
    "paired quotes": b'"\n""\n' * 200_000,
    "open in each line": b'"a\n' * 300_000,
    "never closed": b'a,b\nc,"d\n' + b"e,f\n" * 300_000,
    "prose": b'a,b\nc,"d\n' + PROSE * 15_000,
    "blank lines": b"a,b\n" + b"\n" * 1_000_000,
    "empty records": b"a,b\n" + b",\n" * 500_000,
    "blank line each": b"a,b\n\n" * 200_000,
    "another width behind each": b"a,b\n\nc\n\n" * 200_000,
    "long records": (b"x" * 700_000 + b"\n") * 3,
    "records just too long": (b"x" * MAX_RECORD_BYTES + b"\n") * 2,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_read_again_is_a_few_times_the_file(data, monkeypatch):
    split = 0

    def counted(splitter):
        def count(text, *arguments, **options):
            nonlocal split
            split += len(text)
            return splitter(text, *arguments, **options)

        return count

    monkeypatch.setattr(module, "split_lines", counted(module.split_lines))
    monkeypatch.setattr(module, "split_regular", counted(module.split_regular))
    reader = RecordReader(BARE)
    assert sum(map(len, batches(reader, data, [BLOCK]))) > 0
    assert reader.checkpoint.byte_offset == len(data)
    assert split <= 8 * len(data)


@pytest.mark.parametrize("sizes", [[1], [50], [10_000]])
@pytest.mark.parametrize("escape", ["", "\\"])
def test_a_long_record_without_quotes_under_a_delimiter_of_several_characters(sizes, escape):
    dialect = Dialect(delimiter="||", quote="", escape=escape, header_rows=0)
    lines = [b"1||2\n", b"3||" + b"x|" * 200 + b"\n", b"5||6\n"]
    assert summary(b"".join(lines), dialect, sizes=sizes, limit=100) == [
        (1, 1, 5, None),
        (2, 2, len(lines[1]), "record_too_large"),
        (3, 3, 5, None),
    ]
