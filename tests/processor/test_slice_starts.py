"""Any record of a file is found again by its number, from where the slice began in which it was read."""

from itertools import accumulate, cycle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.processor.slices import raw_text
from services.results.files.finding import find
from services.results.files.queries import search_for
from shared.contracts.dialect import Dialect
from shared.contracts.problems import NotFound
from shared.platform.database import engine_for
from shared.platform.tenancy import tenant_reading
from tests.processor.conftest import HEADERS, Mill
from tests.processor.given import SLICES, on_real_servers
from tests.reading.tables import LINE_END, MARKS, written_row

COLUMNS = ("title", "author", "isbn", "publication_year")
PLACES = {"columns": {column: place for place, column in enumerate(COLUMNS)}, "column_count": 4}
QUOTING = [('"', '"'), ('"', "\\"), ("'", "'"), ("", "\\")]
DIALECTS = st.builds(
    lambda encoding, delimiter, quoting, header_rows: Dialect(
        encoding=encoding, delimiter=delimiter, quote=quoting[0], escape=quoting[1], header_rows=header_rows
    ),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "cp1252"]),
    st.sampled_from([",", ";", "||"]),
    st.sampled_from(QUOTING),
    st.sampled_from([0, 1, 1]),
)
TEXTS = st.text(st.sampled_from([*"ab ,;'\"\\\r\n", "ü", "€"]), max_size=5)
ROWS = st.lists(
    st.tuples(TEXTS.map("T{}.".format), TEXTS, st.sampled_from(["9783522177504", "123", ""]), TEXTS),
    min_size=1,
    max_size=7,
)
LINE_ENDS = st.sampled_from([["\n"], ["\r\n"], ["\r\n", "\n"]])
PREAMBLES = st.sampled_from(["", "From: x\n\n"])


def written(rows, dialect, line_ends, preamble):
    """The file, its dialect, and the bytes of each data record with their offset and line."""
    start = MARKS.get(dialect.encoding, b"") + preamble.encode(dialect.encoding)
    dialect = dialect.model_copy(update={"start_byte": len(start), "start_line": preamble.count("\n")})
    if not dialect.quote:
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    header = [COLUMNS] * dialect.header_rows
    records = [
        (written_row(row, dialect, always=False) + end).encode(dialect.encoding)
        for row, end in zip([*header, *rows], cycle(line_ends), strict=False)
    ]
    lines = [len(LINE_END.findall(record.decode(dialect.encoding))) for record in records]
    offsets = accumulate(map(len, records), initial=len(start))
    numbers = accumulate(lines, initial=preamble.count("\n") + 1)
    places = list(zip(offsets, numbers, records, strict=False))[dialect.header_rows :]
    return start + b"".join(records), dialect, places


def row(number):
    return f"Title {number},Author,{number},2000"


@pytest.fixture
async def results(database_url):
    engine = engine_for(database_url, "results", pool_size=1)
    yield engine
    await engine.dispose()


async def admit(mill: Mill, import_id) -> None:
    """What upload knows of an import that was taken on past it."""
    await mill.database.execute(
        """
        INSERT INTO upload.imports (import_id, tenant, dataset, file_name, file_size, sha256, object_key, dialect, columns,
            column_count, rows_detected, uploaded_by)
        SELECT import_id, tenant, dataset, file_name, file_size, sha256, object_key, dialect, columns, column_count, 0, 'x'
        FROM processor.imports WHERE import_id = $1
        """,
        import_id,
    )


async def found(mill: Mill, results, import_id, number):
    """Offset, line and bytes of a record, as the API finds it."""
    async with tenant_reading(results, "acme") as connection:
        search = await search_for(connection, "acme", import_id, number)
    place = await find(mill.objects, search)
    raw = await mill.objects.read(search.file.object_key, place.bytes.start, place.bytes.length)
    return place.bytes.start, place.line_number, raw


FILES = st.builds(written, ROWS, DIALECTS, LINE_ENDS, PREAMBLES)
EVERY_SLICE_ENDS_IN_QUOTES = written([("T.", "a\r\nb", "123", "")] * 7, Dialect(), ["\r\n"], "")
A_CR_AND_AN_LF_IN_TWO_FIELDS = written([("T.", "\r", "1", "\n"), ("T.", "", "1", "")], Dialect(), ["\n"], "")


@on_real_servers(50)
@given(FILES, st.sampled_from(SLICES), st.booleans())
@example(EVERY_SLICE_ENDS_IN_QUOTES, 1, True)
@example(A_CR_AND_AN_LF_IN_TWO_FIELDS, 1 << 20, False)
async def test_every_record_is_found_as_it_was_written(mill, results, file, slice_bytes, atomic):
    content, dialect, places = file
    await mill.database.execute("TRUNCATE data.books")
    import_id = await mill.take_on(content, dialect=dialect, options={"atomic": atomic}, **PLACES)
    await admit(mill, import_id)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    assert work["rows_processed"] == len(places)
    for number, place in enumerate(places, 1):
        assert await found(mill, results, import_id, number) == place
    errors = await mill.errors(import_id)
    for error in errors:
        offset, line, raw = places[error["row_number"] - 1]
        assert (error["byte_offset"], error["line_number"]) == (offset, line)
        assert error["raw_data"] == raw_text(raw, dialect)
    with pytest.raises(NotFound, match=f"the file has {len(places)}") as refused:
        await found(mill, results, import_id, len(places) + 1)
    assert refused.value.code == "row_not_found"


async def test_a_record_is_looked_for_in_its_slice_alone(mill, results):
    import_id = await mill.take_on("\n".join([HEADERS["books"], *[row(number) for number in range(40)]]))
    await admit(mill, import_id)
    await mill.finish(import_id, mill.pipeline(slice_bytes=256))
    starts = await mill.database.fetch(
        "SELECT record_number, byte_offset FROM processor.slice_starts WHERE import_id = $1 ORDER BY 1",
        import_id,
    )
    assert len(starts) > 3
    async with tenant_reading(results, "acme") as connection:
        for before, start in zip([(0, 0), *map(tuple, starts)], starts, strict=False):
            last = await search_for(connection, "acme", import_id, start["record_number"])
            assert (last.start.record_number, last.start.byte_offset) == before
            first = await search_for(connection, "acme", import_id, start["record_number"] + 1)
            assert (first.start.record_number, first.start.byte_offset) == tuple(start)


async def test_before_starts_were_kept_the_file_is_read_from_its_beginning(mill, results, monkeypatch):
    rows = [row(number) for number in range(40)]
    import_id = await mill.take_on("\n".join([HEADERS["books"], *rows]))
    await admit(mill, import_id)
    await mill.finish(import_id, mill.pipeline(slice_bytes=256))
    await mill.database.execute("DELETE FROM processor.slice_starts")
    assert (await found(mill, results, import_id, 39))[2].decode() == rows[38] + "\n"
    monkeypatch.setattr("services.results.files.finding.BLOCK_BYTES", 200)
    monkeypatch.setattr("services.results.files.finding.MOST_BYTES", 400)
    with pytest.raises(NotFound, match="does not end within 400 bytes of byte 0"):
        await found(mill, results, import_id, 39)


async def test_what_is_not_read_yet_is_not_found_yet(mill, results):
    import_id = await mill.take_on("\n".join([HEADERS["books"], *[row(number) for number in range(20)]]))
    await admit(mill, import_id)
    pipeline = mill.pipeline(slice_bytes=256)

    async def refused(number):
        with pytest.raises(NotFound) as problem:
            await found(mill, results, import_id, number)
        return problem.value

    assert (await refused(1)).code == "row_not_read_yet"
    read = (await mill.begin(import_id, pipeline))["record_number"]
    assert 0 < read < 20
    await found(mill, results, import_id, read)
    assert (await refused(read + 1)).detail == f"record {read + 1} is not read: {read} are so far"
    await mill.cancel(import_id)
    assert (await refused(20)).code == "row_not_read_yet"
    assert "link `file`" in (await refused(20)).hint


async def test_a_slice_without_a_record_moves_the_start(mill, results):
    """Blank lines longer than a slice, behind the header and between records."""
    rows = [row(0), "\n" * 600, row(1), "\n" * 600 + row(2)]
    import_id = await mill.take_on("\n".join([HEADERS["books"], "\n" * 600, *rows]))
    await admit(mill, import_id)
    await mill.finish(import_id, mill.pipeline(slice_bytes=100))
    assert [(await found(mill, results, import_id, number))[2] for number in (1, 2, 3)] == [
        f"{row(0)}\n".encode(),
        f"{row(1)}\n".encode(),
        row(2).encode(),
    ]


async def test_records_of_a_further_table_are_none(mill, results):
    rows = [row(1), row(2), "", "Warehouse,Shelf", "North,1", "South,2", ""]
    import_id = await mill.take_on("\n".join([HEADERS["books"], *rows]))
    await admit(mill, import_id)
    await mill.finish(import_id, mill.pipeline(slice_bytes=20))
    assert (await found(mill, results, import_id, 2))[2] == f"{row(2)}\n".encode()
    with pytest.raises(NotFound, match="there is no record 3: the file has 2"):
        await found(mill, results, import_id, 3)
