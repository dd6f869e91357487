"""Fix and resend: a corrected error file closes the row errors of the records that are loaded, each once."""

import csv
import io
import json
from collections.abc import Sequence
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.checking.faults import CheckCode
from services.processor.corrected import Remarks, line_in
from services.upload.inspection import Inspection
from shared.contracts.datasets import datasets
from shared.reading.errors import FaultCode
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


async def test_what_an_older_processor_refused_can_be_corrected_as_far_as_its_row_errors_are_kept(mill):
    """It notes no lines; here it did all of an import, and the first slices of another."""
    short = "Short,Author"  # two row errors, one line
    kept = mill.pipeline(slice_bytes=60, row_errors_kept=2)
    first = (await mill.load(books(BAD, BAD, BAD), kept))["import_id"]
    partly = (await mill.load(books(BAD, right(0)[:-3], short)))["import_id"]
    strangers = (await mill.load(books(BAD), tenant="other"))["import_id"]
    await mill.database.execute(
        "DELETE FROM processor.refused_lines WHERE import_id = ANY($1)", [first, strangers]
    )
    second = await mill.load(resent(right(1, 3), right(2, 4)), corrects=first)
    assert await fixes_of(mill, first) == {3: (second["import_id"], 1)}
    assert notes_of(second) == {"line_not_known": 1}
    third = await mill.load(resent(right(3, 4), right(0, 9, "Taken")), corrects=partly)
    assert await fixes_of(mill, partly) == {4: (third["import_id"], 1)}
    assert notes_of(third) == {}
    await mill.load(resent(right(1, 2, "Other")), corrects=strangers)
    assert await fixes_of(mill, strangers) == {}


SALES = "transaction_id,sold_at,sku,quantity,unit_price"


def sales(*records: str) -> str:
    return "\n".join([SALES, *(f"{record},1.50" for record in records)]) + "\n"


async def days_of_sales(mill):
    return {row["transaction_id"]: str(row["sold_at"].date()) for row in await mill.records("sales")}


@pytest.mark.parametrize("said", [True, False])
async def test_dates_are_read_as_in_the_import_that_is_corrected(mill, said):
    """What was refused of it proves another order, or none; the correction of the correction has the same."""
    proof = [] if said else ["t1,25/12/2024,S-1,1", "t2,26/12/2024,S-1,1"]
    wrong = ["t3,03/04/2024,S-1,bad", "t5,05/06/2024,S-1,bad", *(["t4,12/25/2024,S-1,1"] if said else [])]
    options = {"date_order": "day-first"} if said else {}
    sent = {"dataset": "sales"}
    first = await mill.load(sales(*proof, *wrong), options=options, **sent)
    mended = (await mill.error_file(first["import_id"])).replace(b",bad,", b",1,", 1)
    second = await mill.load(mended, corrects=first["import_id"], **sent)
    mended = (await mill.error_file(second["import_id"])).replace(b",bad,", b",1,")
    third = await mill.load(mended, corrects=second["import_id"], **sent)
    assert (second["rows_inserted"], third["rows_inserted"]) == (1, 1)
    assert third["rows_rejected"] == len(wrong) - 2
    days = await days_of_sales(mill)
    assert (days["t3"], days["t5"]) == ("2024-04-03", "2024-06-05")
    other = {"date_order": "month-first"}
    await mill.load(
        f"{SALES},_line\nt6,03/04/2024,S-1,1,1.50,\n", corrects=first["import_id"], options=other, **sent
    )
    assert (await days_of_sales(mill))["t6"] == "2024-03-04"


async def test_what_the_corrected_import_left_open_no_refused_record_decides(mill):
    first = await mill.load(
        sales("t1,25/12/2024,S-1,1", "t2,12/26/2024,S-1,bad", "t3,03/04/2024,S-1,1"), dataset="sales"
    )
    again = await mill.load(
        await mill.error_file(first["import_id"]), corrects=first["import_id"], dataset="sales"
    )
    assert (again["rows_inserted"], again["rows_rejected"]) == (0, 2)


LONG = "Fast, The,Author,9783522177504,3"  # a quote is missing: it has one cell more than the header


@pytest.mark.parametrize("padded", [False, True])
async def test_a_record_that_is_too_long_keeps_its_cells_and_its_line(mill, padded):
    """Also where a spreadsheet has filled up the other records."""
    first = (await mill.load(books(BAD, LONG, LONG)))["import_id"]
    rows = read(await mill.error_file(first))
    assert rows[2][5:7] == ["3", "extra_cell"]
    if padded:
        rows = [row + [""] * (8 - len(row)) for row in rows]
    second = (await sent_as_it_is(mill, rows, first))["import_id"]
    again = read(await mill.error_file(second))
    assert [[cell for cell in row if cell][:-1] for row in again[2:]] == [
        [*LONG.split(","), line, "extra_cell"] for line in ("3", "4")
    ]
    third = (await mill.load(resent(right(0, 3)), corrects=second))["import_id"]
    assert await fixes_of(mill, second) == {3: (third, 1)}
    assert await fixes_of(mill, first) == {3: (third, 1)}


async def sent_as_it_is(mill, rows, corrects):
    sent = io.StringIO()
    csv.writer(sent).writerows(rows)
    return await mill.load(sent.getvalue(), corrects=corrects)


CODES = st.sampled_from([*get_args(CheckCode), *get_args(FaultCode), "duplicate_key"])


@given(
    data=st.lists(st.sampled_from(["", "3", "a", "not_a_date", " "]), min_size=2, max_size=7),
    codes=st.lists(CODES, min_size=1, max_size=3).map(" ".join),
    message=st.sampled_from(["no", "7", "not_a_date"]),
    blank=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_remarks_are_found_behind_however_many_cells(data, codes, message, blank):
    remarks = Remarks(["sku", "name", *REMARKS, *[""] * blank[0]])
    back = remarks.put_back([*data, "12", codes, message, *[""] * blank[1]])
    assert remarks.line_in(back) == 12
    kept = [cell for place, cell in enumerate(back) if place not in remarks.places_in(back)]
    assert (kept[:2], list(filter(None, kept[2:]))) == (data[:2], list(filter(None, data[2:])))


@pytest.mark.parametrize(
    ("header", "record"),
    [
        ([*REMARKS[:1], *REMARKS[2:]], [*LONG.split(","), "2", "has 5 cells"]),
        (REMARKS, [*LONG.split(","), "2", "", "has 5 cells"]),
        (REMARKS, [*LONG.split(","), "2", "", ""]),
        (REMARKS, [*LONG.split(","), "more", "2", "", ""]),
        ([*REMARKS, ""], [*LONG.split(","), "2", "", ""]),
    ],
)
async def test_where_its_remarks_cannot_be_told_it_corrects_nothing_and_keeps_all_cells(mill, header, record):
    first = (await mill.load(books(LONG, BAD)))["import_id"]
    second = await sent_as_it_is(mill, [[*HEADERS["books"].split(","), *header], record], first)
    assert notes_of(second) == {"line_unreadable": 1}
    [_, again] = read(await mill.error_file(second["import_id"]))
    told = [cell for cell in record if cell]
    assert [cell for cell in again if cell][: len(told)] == told
    await mill.load(resent(right(0, 2)), corrects=second["import_id"])
    assert await fixes_of(mill, first) == {}


async def test_a_remark_of_ones_own_behind_the_others_changes_nothing(mill):
    first = (await mill.load(books(BAD, BAD)))["import_id"]
    header = [*HEADERS["books"].split(","), *REMARKS, ""]
    rows = [
        [*right(0, 2).split(",")[:5], "", "", "mended"],
        [*BAD.split(","), "3", "isbn_invalid", "no", "hm"],
    ]
    second = await sent_as_it_is(mill, [header, *rows], first)
    assert await fixes_of(mill, first) == {2: (second["import_id"], 1)}


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
