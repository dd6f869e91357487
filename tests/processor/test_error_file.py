"""The error file: every refused record as it came, once, with what the row errors say; to be mended and sent again."""

import csv
import io
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from services.processor.error_file import fields_of
from services.processor.slices import raw_text
from shared.contracts.dialect import Dialect
from shared.reading.dialect import HEAD_BYTES, detect
from shared.reading.mending import is_regular
from shared.reading.records import RecordReader
from tests.processor.conftest import HEADERS
from tests.processor.given import SLICES, on_real_servers
from tests.processor.test_leases import expire
from tests.processor.test_pipeline import good
from tests.reading.tables import written_row

COLUMNS = ("title", "author", "isbn", "publication_year")
REMARKS = ["_line", "_codes", "_messages"]
DIALECTS = {
    "plain": Dialect(),
    "semicolons": Dialect(delimiter=";"),
    "bars": Dialect(delimiter="||"),
    "single quotes": Dialect(quote="'", escape="'"),
    "backslashes": Dialect(escape="\\"),
    "no quotes": Dialect(delimiter="\t", quote="", escape=""),
    "utf-16": Dialect(encoding="utf-16-le", start_byte=2),
    "windows": Dialect(encoding="cp1252", delimiter="|"),
    "no header": Dialect(header_rows=0),
    "no header, two bars": Dialect(header_rows=0, delimiter="||"),
}
TEXTS = st.text(st.sampled_from([*"ab ,;|\t'\"\\\n\r", "ü", "€"]), max_size=6)
ISBNS = st.sampled_from(["9783522177504", "3522177509", "9780306406157", "123", ""])
RECORDS = st.tuples(
    st.tuples(TEXTS.map("T{}".format), TEXTS.map("A{}".format), ISBNS, st.sampled_from(["2000", "soon", ""])),
    st.sampled_from([(), (), (), ("",), ("more",), -1, -2]),  # cells too many, or so many missing
).map(lambda record: [*record[0], *record[1]] if isinstance(record[1], tuple) else [*record[0][: record[1]]])
FIRST = ["First", "Author", "1", "2000"]  # a faulty record, so that there always is an error file


def file_of(dialect, rows):
    """A file of `rows`, and the rows as they can be in it."""
    if not dialect.quote:
        clean = str.maketrans("", "", "\r\n" + dialect.delimiter)
        rows = [[cell.translate(clean) for cell in row] for row in rows]
    header = [list(COLUMNS)] if dialect.header_rows else []
    lines = (written_row(row, dialect, always=False) + "\n" for row in [*header, *rows])
    start = b"\xff\xfe" if dialect.encoding == "utf-16-le" else b""
    return start + "".join(lines).encode(dialect.encoding), rows


def read(content, dialect):
    reader = RecordReader(dialect)
    return [list(record) for batch in [*reader.feed(content), *reader.finish()] for record in batch.fields]


def delimiter_of(dialect):
    return dialect.delimiter if len(dialect.delimiter) == 1 else ","


async def expected_of(mill, import_id, rows):
    """What the row errors say the error file has, by record number."""
    expected = {}
    for number, errors in groupby(await mill.errors(import_id), key=lambda error: error["row_number"]):
        faults = list(errors)
        cells = rows[number - 1]
        surplus = cells if any(map(str.strip, cells[4:])) else cells[:4]
        expected[number] = [
            *surplus,
            *[""] * (4 - len(cells)),
            str(faults[0]["line_number"]),
            " ".join(fault["code"] for fault in faults),
            "; ".join(fault["message"] for fault in faults),
        ]
    return expected


@on_real_servers(60)
@given(st.sampled_from(sorted(DIALECTS)), st.lists(RECORDS, max_size=8), st.sampled_from(SLICES))
@example("plain", [["T", "A", "3522177509", "2000"], ["T", "A", "3522177509", "2000", ""]], 1)
@example("bars", [["T", "A", "3522177509", "2000"], ["T,", 'A"', "3522177509", "2000"]], 1 << 20)
async def test_it_has_every_refused_record_once(mill, name, rows, slice_bytes):
    dialect = DIALECTS[name]
    content, rows = file_of(dialect, [FIRST, *rows])
    places = {"columns": {column: place for place, column in enumerate(COLUMNS)}, "column_count": 4}
    await mill.database.execute("TRUNCATE data.books")
    import_id = await mill.take_on(content, dialect=dialect, **places)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    expected = await expected_of(mill, import_id, rows)
    assert len(expected) == work["rows_rejected"] + work["rows_duplicate"]
    written = await mill.error_file(import_id)
    header, *found = read(written, Dialect(delimiter=delimiter_of(dialect)))
    assert header == [*COLUMNS, *REMARKS]
    assert sorted(found) == sorted(expected.values())
    by_python = list(csv.reader(io.StringIO(written.decode(), newline=""), delimiter=delimiter_of(dialect)))
    assert by_python == [header, *found]


BAD = [
    ["Momo, und mehr", "Ende", "3522177509", "soon"],
    ['Say "yes"', "Ende", "123", "2000"],
    ["Two\nlines", "Ende", "0306406152", ""],
    ["Good", "Ende", "080442957X", "2000"],
    ["Good", "Ende", "080442957X", "2000"],
]


@pytest.mark.parametrize("name", [name for name in DIALECTS if DIALECTS[name].quote])
async def test_it_may_be_mended_and_sent_again_as_it_is(mill, name):
    dialect = DIALECTS[name]
    content, _ = file_of(dialect, BAD)
    places = {"columns": {column: place for place, column in enumerate(COLUMNS)}, "column_count": 4}
    work = await mill.load(content, dialect=dialect, **places)
    assert (work["rows_inserted"], work["rows_rejected"], work["rows_duplicate"]) == (1, 3, 1)
    error_file = (await mill.error_file(work["import_id"])).decode()
    head = error_file.encode()[:HEAD_BYTES]
    assert detect(head, complete=True).dialect.delimiter == delimiter_of(dialect)
    mended = error_file
    for wrong, right in (("soon", "1973"), ("123", "9791090636071"), ("080442957X", "0198526636")):
        mended = mended.replace(delimiter_of(dialect) + wrong, delimiter_of(dialect) + right)
    mended = mended.replace(
        f"0306406152{delimiter_of(dialect)}{delimiter_of(dialect)}",
        f"0306406152{delimiter_of(dialect)}2000{delimiter_of(dialect)}",
    )
    again = await mill.load(mended)
    assert (again["rows_inserted"], again["rows_rejected"]) == (4, 0)
    assert {row["title"] for row in await mill.records()} == {row[0] for row in BAD}


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("slice_bytes", [30, 1 << 20])
async def test_it_and_the_counts_are_complete_though_few_row_errors_are_kept(mill, kept, slice_bytes):
    rows = ["bad", ",Author,1,x", good(0), good(0), "worse", good(0)]
    content = "\n".join([HEADERS["books"], *rows])
    work = await mill.load(content, mill.pipeline(slice_bytes=slice_bytes, row_errors_kept=kept))
    assert len(await mill.errors(work["import_id"])) == kept
    assert await mill.error_counts(work["import_id"]) == {
        ("missing_cell", ""): 2,
        ("value_missing", "title"): 1,
        ("isbn_invalid", "isbn"): 1,
        ("not_an_integer", "publication_year"): 1,
        ("duplicate_key", "isbn"): 2,
    }
    _, *found = read(await mill.error_file(work["import_id"]), Dialect())
    assert sorted(int(row[-3]) for row in found) == [2, 3, 5, 6, 7]


async def test_many_duplicates_are_filed_in_several_steps(mill, monkeypatch):
    monkeypatch.setattr("services.processor.job.FILED_AT_ONCE", 3)
    content = "\n".join([HEADERS["books"], *[good(0)] * 11])
    work = await mill.load(content, mill.pipeline(slice_bytes=1 << 20))
    assert (work["rows_duplicate"], work["error_parts"]) == (10, 4)
    _, *found = read(await mill.error_file(work["import_id"]), Dialect())
    assert [int(row[4]) for row in found] == list(range(3, 13))


async def test_duplicates_are_filed_by_their_size_too(mill, monkeypatch):
    monkeypatch.setattr("services.processor.job.FILED_AT_ONCE_BYTES", 100)
    content = "\n".join([HEADERS["books"], *[good(0, title="x" * 80)] * 4])
    work = await mill.load(content, mill.pipeline(slice_bytes=1 << 20))
    assert work["error_parts"] == 3


async def test_an_import_without_row_errors_has_none(mill):
    work = await mill.load(f"{HEADERS['books']}\n{good(0)}\n")
    assert (work["error_parts"], await mill.error_file(work["import_id"])) == (0, b"")


async def test_an_attempt_that_failed_adds_nothing_to_it(mill):
    import_id = await mill.take_on("\n".join([HEADERS["books"], "bad", good(0), good(0), "worse"]))
    pipeline = mill.pipeline(slice_bytes=1 << 20)
    await mill.database.execute("ALTER TABLE data.books ADD CONSTRAINT none CHECK (false)")
    for _ in range(2):
        with pytest.raises(DBAPIError):
            await mill.finish(import_id, pipeline)
    assert await mill.error_file(import_id) == b""
    await mill.database.execute("ALTER TABLE data.books DROP CONSTRAINT none")
    await mill.finish(import_id, pipeline)
    _, *found = read(await mill.error_file(import_id), Dialect())
    assert [row[0] for row in found] == ["bad", "worse", "Title"]


async def test_who_lost_the_lease_adds_nothing_to_it(mill, another_process):
    import_id = await mill.take_on("\n".join([HEADERS["books"], "bad", good(0), ""]))

    class Overtaken(type(mill.objects)):
        """While the first process writes its part, another one does the import."""

        async def put(self, key, chunks):
            await super().put(key, chunks)
            mill.objects = quick
            await expire(mill, import_id)
            await mill.finish(import_id, mill.pipeline(bus=another_process, slice_bytes=1 << 20))

    quick, mill.objects = mill.objects, Overtaken(f"file://{mill.store}")
    await mill.finish(import_id, mill.pipeline(slice_bytes=1 << 20))
    _, *found = read(await mill.error_file(import_id), Dialect())
    assert [row[0] for row in found] == ["bad"]


async def test_a_record_that_is_no_text_is_shown_as_well_as_can_be(mill):
    content = b"\n".join(
        [HEADERS["books"].encode(), b"\xff\xfe,A,3522177509,2000", b"a\0b,A,0306406152,2000", b""]
    )
    work = await mill.load(content, dialect=Dialect())
    assert work["rows_rejected"] == 2
    _, *found = read(await mill.error_file(work["import_id"]), Dialect())
    assert [row[0] for row in found] == ["\ufffd\ufffd", "a\N{SYMBOL FOR NULL}b"]


@pytest.mark.parametrize(
    "dialect",
    [
        *DIALECTS.values(),
        Dialect(delimiter="\t", quote="", escape="\\"),
        Dialect(delimiter=", ", escape="\\"),
    ],
    ids=str,
)
@given(st.text(st.sampled_from([*"ab ,;|\t'\"\\\n\r", "ü"]), max_size=16))
@example("9783522177504\tb\t1973\tA long\\\ntitle\n")
@example("x\\\n")
@example("x\\\\\n")
def test_a_record_is_read_again_from_its_text(dialect, text):
    content = (b"\xff\xfe" if dialect.start_byte else b"") + text.encode(dialect.encoding)
    reader = RecordReader(dialect.model_copy(update={"header_rows": 0}))
    for batch in [*reader.feed(content), *reader.finish()]:
        for index, fields in enumerate(batch.fields):
            raw = batch.raw(index)
            regular = not dialect.quote or is_regular(raw.decode(dialect.encoding, "replace"), dialect)
            if index not in batch.faults and regular:
                assert list(fields_of(raw_text(raw, dialect), dialect)) == list(fields)


async def test_a_duplicate_with_an_escaped_line_end_is_reported(mill):
    dialect = Dialect(delimiter="\t", quote="", escape="\\")
    record = "9783522177504\tb\t1973\tA long\\\ntitle\n"
    places = {"columns": {"isbn": 0, "author": 1, "publication_year": 2, "title": 3}, "column_count": 4}
    content = "isbn\tauthor\tpublication_year\ttitle\n" + record * 2
    header = ("isbn", "author", "publication_year", "title")
    import_id = await mill.take_on(content, dialect=dialect, header=header, **places)
    work = await mill.finish(import_id)
    assert (work["status"], work["rows_inserted"], work["rows_duplicate"]) == ("completed", 1, 1)
    _, [*found] = read(await mill.error_file(import_id), Dialect(delimiter="\t"))
    assert found[:4] == ["9783522177504", "b", "1973", "A long\ntitle"]
