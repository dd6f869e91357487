"""Fix and resend: a corrected error file closes the row errors of the records that are loaded, each once."""

import csv
import io
import json
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.corrected import line_in
from services.upload.inspection import Inspection
from shared.contracts.datasets import datasets
from tests.processor.conftest import HEADERS
from tests.processor.given import SLICES, on_real_servers

REMARKS = ("_line", "_codes", "_messages")
ISBNS = ("9783522177504", "9780306406157", "9791090636071", "9780804429573")


async def fixes_of(mill, import_id):
    """What has fixed the lines of an import: the later import and its record, by line."""
    rows = await mill.database.fetch(
        "SELECT line_number, by_import, by_row FROM processor.fixes WHERE import_id = $1", import_id
    )
    fixes = {row["line_number"]: (row["by_import"], row["by_row"]) for row in rows}
    counted = await mill.database.fetch(
        "SELECT by_import, rows_fixed FROM processor.corrections WHERE import_id = $1", import_id
    )
    by = [import_id for import_id, _ in fixes.values()]
    assert {row["by_import"]: row["rows_fixed"] for row in counted} == {each: by.count(each) for each in by}
    return fixes


async def leftovers(mill):
    return await mill.database.fetchval("SELECT count(*) FROM processor.resent")


def read(content: bytes, delimiter: str = ","):
    return list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))


def books(*records: str) -> str:
    return "\n".join([HEADERS["books"], *records]) + "\n"


def resent(*records: str) -> str:
    """A corrected error file; each record with its remarks."""
    return "\n".join([f"{HEADERS['books']},_line,_codes,_messages", *records]) + "\n"


def right(number: int, line: object = "", title: str = "Right") -> str:
    return f"{title},Author,{ISBNS[number]},2000,{line},,"


BAD = "Bad,Author,1,2000"


def notes_of(work):
    return json.loads(work["notes"])


@pytest.mark.parametrize("slice_bytes", [60, 1 << 20])
async def test_records_that_are_loaded_close_their_errors(mill, slice_bytes):
    pipeline = mill.pipeline(
        slice_bytes=slice_bytes, row_errors_kept=1
    )  # the others are known by their lines
    first = await mill.load(books(BAD, right(0)[:-3], BAD, BAD, BAD), pipeline)
    text = resent(right(1, 4), f"{BAD},5,isbn_invalid,no", right(0, 6, "Taken"), right(2), right(3, "2"))
    second = await mill.load(text, pipeline, corrects=first["import_id"])
    assert (second["rows_inserted"], second["rows_rejected"], second["rows_duplicate"]) == (3, 1, 1)
    fixed_by = second["import_id"]
    assert await fixes_of(mill, first["import_id"]) == {4: (fixed_by, 1), 2: (fixed_by, 5)}
    assert await fixes_of(mill, fixed_by) == {}
    assert notes_of(second) == {}
    assert await leftovers(mill) == 0


async def test_a_correction_of_a_correction_closes_the_errors_of_both(mill):
    """B corrects A, C what was refused of B: by a duplicate, by a fault; and D comes too late."""
    a = (await mill.load(books(BAD, BAD, BAD, right(0)[:-3])))["import_id"]
    b = (await mill.load(resent(right(0, 2), f"{BAD},3,x,y", right(1, 4), BAD + ",,,"), corrects=a))[
        "import_id"
    ]
    c = (await mill.load(resent(right(2, 2), right(3, 3)), corrects=b))["import_id"]
    assert await fixes_of(mill, a) == {4: (b, 3), 2: (c, 1), 3: (c, 2)}
    assert await fixes_of(mill, b) == {2: (c, 1), 3: (c, 2)}
    await mill.database.execute("TRUNCATE data.books")
    d = (await mill.load(resent(right(0, 2)), corrects=a))["import_id"]
    assert d not in {by for by, _ in (await fixes_of(mill, a)).values()}


@pytest.mark.parametrize("options", [{}, {"atomic": True}])
async def test_a_line_that_is_sent_twice_is_closed_by_the_first_record_loaded(mill, options):
    first = (await mill.load(books(BAD, BAD)))["import_id"]
    text = resent(f"{BAD},2,,", right(0, 2), right(1, 2), right(1, 3))
    second = await mill.load(text, corrects=first, options=options)
    assert (second["rows_inserted"], second["rows_duplicate"], second["rows_rejected"]) == (2, 1, 1)
    assert await fixes_of(mill, first) == {2: (second["import_id"], 2)}


@pytest.mark.parametrize("slice_bytes", [60, 1 << 20])
async def test_an_import_as_a_whole_closes_errors_when_it_is_applied(mill, slice_bytes):
    pipeline = mill.pipeline(slice_bytes=slice_bytes)
    first = (await mill.load(books(BAD, BAD, BAD)))["import_id"]
    text = resent(right(0, 2), right(1, 3), right(2, 4), right(3, 9))
    dry = await mill.load(text, pipeline, corrects=first, options={"dry_run": True})
    refused = resent(right(0, 2), f"{BAD},3,,")
    failed = await mill.load(refused, pipeline, corrects=first, options={"max_rejected": 0})
    assert (dry["status"], failed["status"]) == ("completed", "failed")
    assert await fixes_of(mill, first) == {}
    assert await leftovers(mill) == 0
    import_id = await mill.take_on(text, corrects=first, options={"atomic": True})
    await mill.begin(import_id, mill.pipeline(slice_bytes=60), records=2)
    assert await fixes_of(mill, first) == {}
    whole = await mill.finish(import_id, pipeline)
    assert await fixes_of(mill, first) == {2: (import_id, 1), 3: (import_id, 2), 4: (import_id, 3)}
    assert notes_of(whole) == {"line_without_row_error": 1}
    assert await leftovers(mill) == 0


async def test_a_cancelled_import_as_a_whole_closes_nothing(mill):
    first = (await mill.load(books(BAD, BAD)))["import_id"]
    import_id = await mill.take_on(resent(right(0, 2), right(1, 3)), corrects=first, options={"atomic": True})
    pipeline = mill.pipeline(slice_bytes=60)
    await mill.begin(import_id, pipeline)
    await mill.cancel(import_id, pipeline)
    assert (await mill.finish(import_id, pipeline))["status"] == "cancelled"
    assert (await fixes_of(mill, first), await leftovers(mill)) == ({}, 0)


async def test_lines_that_name_no_row_error_are_noted_and_hold_nothing_up(mill):
    first = (await mill.load(books(BAD, right(0)[:-3])))["import_id"]
    text = resent(right(1, "two"), right(2, 3), right(3, "99999999999999999999"), "Short")
    second = await mill.load(text, corrects=first)
    assert (second["rows_inserted"], second["rows_rejected"]) == (3, 1)
    assert notes_of(second) == {"line_unreadable": 2, "line_without_row_error": 1}
    assert await fixes_of(mill, first) == {}


async def test_what_was_refused_before_upgrade_can_be_corrected_as_far_as_its_row_errors_are_kept(mill):
    """As the migration brings them over; and another tenant's import is never touched."""
    first = (await mill.load(books(BAD)))["import_id"]
    strangers = (await mill.load(books(BAD), tenant="other"))["import_id"]
    for corrected in (first, strangers):
        rows = await mill.database.fetch(
            "SELECT import_id, min(line_number), max(line_number), array_agg(line_number) FROM processor.row_errors"
            " WHERE import_id = $1 GROUP BY 1",
            corrected,
        )
        noted = await mill.database.fetch(
            "SELECT import_id, first_line, last_line, line_numbers FROM processor.refused_lines WHERE import_id = $1",
            corrected,
        )
        assert [tuple(row) for row in rows] == [tuple(row) for row in noted]


async def test_an_attempt_that_failed_closes_nothing_and_the_next_one_all(mill):
    first = (await mill.load(books(BAD, BAD, BAD)))["import_id"]
    import_id = await mill.take_on(
        resent(right(0, 2), right(1, "x"), right(2, 4), right(3, 8)), corrects=first
    )
    await mill.database.execute("ALTER TABLE data.books ADD CONSTRAINT none CHECK (isbn <> '9791090636071')")
    pipeline = mill.pipeline(slice_bytes=60)
    with pytest.raises(Exception, match="none"):
        await mill.finish(import_id, pipeline)
    assert set(await fixes_of(mill, first)) == {2}
    await mill.database.execute("ALTER TABLE data.books DROP CONSTRAINT none")
    done = await mill.finish(import_id, pipeline)
    assert await fixes_of(mill, first) == {2: (import_id, 1), 4: (import_id, 3)}
    assert notes_of(done) == {"line_unreadable": 1, "line_without_row_error": 1}


async def test_its_own_error_file_has_its_own_lines_and_no_remarks_of_the_one_before(mill):
    first = await mill.load(books('=1,"Author, A",1,2000', right(0)[:-3]))
    header, record = read(await mill.error_file(first["import_id"]))
    assert record[:5] == ["'=1", "Author, A", "1", "2000", "2"]
    sent = io.StringIO()
    again = [*record[:2], "2", *record[3:]], ["'=2", "B", ISBNS[0], "1999", *record[4:]]
    csv.writer(sent).writerows([header, *again])
    second = await mill.load(sent.getvalue(), corrects=first["import_id"])
    assert (second["rows_rejected"], second["rows_duplicate"]) == (1, 1)
    found, *rest = read(await mill.error_file(second["import_id"]))
    assert found == header
    assert [row[:6] for row in rest] == [
        ["'=1", "Author, A", "2", "2000", "2", "isbn_invalid"],
        ["'=2", "B", ISBNS[0], "1999", "3", "duplicate_key"],
    ]
    assert [error["value"] for error in await mill.errors(second["import_id"])] == ["2", ISBNS[0]]


async def test_an_error_file_that_corrects_nothing_is_a_file_like_any_other(mill):
    first = await mill.load(books("=1,Author,1,2000"))
    header, record = read(await mill.error_file(first["import_id"]))
    sent = io.StringIO()
    csv.writer(sent).writerows([header, [*record[:2], ISBNS[0], *record[3:]]])
    await mill.load(sent.getvalue())
    assert [row["title"] for row in await mill.records()] == ["=1"]
    assert await fixes_of(mill, first["import_id"]) == {}


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        *(("12", 12), (" 12 ", 12), ("12.0", 12), ("12,00", 12), ("1,234", 1234), ("1.234.567", 1234567)),
        *(("1\u202f234", 1234), ("1'234.00", 1234), ("", None), ("  ", None)),
    ],
)
def test_a_line_number_is_read_as_spreadsheets_write_it(cell, line):
    assert line_in(cell) == line


@pytest.mark.parametrize("cell", ["0", "-1", "1.5", "1e3", "x", "1 2", "12,34", "9" * 19, "9" * 5000, "٣"])
def test_what_is_no_line_number_is_refused(cell):
    with pytest.raises(ValueError, match="no line number"):
        line_in(cell)


# What people and spreadsheets do to a file.

TEXTS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "=", "+", "-", "@", "'", "''=", "'-5", "-5 pieces", "=1+1", "＝", '"=', "'tis "]),
    st.text(st.sampled_from([*"ab'\"=;, ü€", "\n"]), max_size=6).map("x{}y".format),
)
QUOTINGS = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])


class Rewriting:
    """How the file is written again."""

    def __init__(self, draw, columns: int) -> None:
        self.delimiter = draw(st.sampled_from([",", ";", "\t"]))
        self.quoting = draw(QUOTINGS)
        self.line_end = draw(st.sampled_from(["\r\n", "\n"]))
        self.mark = draw(st.sampled_from(["", "\ufeff"]))
        self.order = draw(st.permutations(range(columns)))
        self.empty_columns = draw(st.integers(0, 2))
        self.message = draw(st.sampled_from([None, "", "done", "=1"]))
        self.line = draw(st.sampled_from(["{}", "{}.0", " {}"]))

    def written(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(
            text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.line_end
        )
        blank = [""] * self.empty_columns
        writer.writerows([*(row[place] for place in self.order), *blank] for row in [header, *rows])
        return (self.mark + text.getvalue()).encode()

    def edited(self, header: Sequence[str], row: Sequence[str]) -> list[str]:
        cells = dict(zip(header, row, strict=True))
        if self.message is not None:
            cells["_messages"] = self.message
        if cells["_line"]:
            cells["_line"] = self.line.format(cells["_line"])
        return list(cells.values())


async def sent_to(mill, content: bytes, corrects: UUID, slice_bytes: int):
    """Import a file as the upload would look at it."""
    seen = Inspection(dataset=datasets()["products"])
    seen.feed(content)
    seen.finish()
    assert seen.dialect is not None
    found = {
        "dialect": seen.dialect,
        "header": tuple(seen.header),
        "columns": dict(seen.match(datasets()["products"]).columns),
        "column_count": seen.width,
    }
    return await mill.load(
        content, mill.pipeline(slice_bytes=slice_bytes), dataset="products", corrects=corrects, **found
    )


@on_real_servers(40)
@given(
    data=st.data(),
    texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6),
    size=st.sampled_from(SLICES),
)
async def test_whatever_a_spreadsheet_does_to_it_the_records_come_as_they_were(mill, data, texts, size):
    await mill.database.execute("TRUNCATE data.products")
    rows = [[f"s{number}", name, text, "soon"] for number, (name, text) in enumerate(texts)]
    original = io.StringIO()
    csv.writer(original).writerows([["sku", "name", "=description", "price"], *rows])
    columns = {"sku": 0, "name": 1, "description": 2, "price": 3}
    first = await mill.load(original.getvalue(), dataset="products", columns=columns)
    header, *wrong = read(await mill.error_file(first["import_id"]))
    assert header == ["sku", "name", "'=description", "price", *REMARKS]
    header[2] = "description"

    rewriting = Rewriting(data.draw, len(header))
    kept = data.draw(st.lists(st.sampled_from(wrong), min_size=1, unique_by=lambda row: row[0]))
    mended = [rewriting.edited(header, [*row[:3], "1.50", *row[4:]]) for row in kept]
    new = ["new", "A new one", "", "2", "", "", ""]
    content = rewriting.written(header, [*mended, new])
    second = await sent_to(mill, content, first["import_id"], size)

    assert (second["status"], second["rows_inserted"], notes_of(second)) == ("completed", len(kept) + 1, {})
    loaded = {row["sku"]: (row["name"], row["description"]) for row in await mill.records("products")}
    expected = {rows[int(row[0][1:])][0]: tuple(rows[int(row[0][1:])][1:3]) for row in kept}
    assert loaded == expected | {"new": ("A new one", None)}
    fixed = {int(row[4]): (second["import_id"], place) for place, row in enumerate(kept, 1)}
    assert await fixes_of(mill, first["import_id"]) == fixed
