"""Row errors: found by what they say, by whether they are fixed, and grouped with what has likely caused them."""

from typing import Any, get_args
from uuid import UUID, uuid4

import pytest

from services.processor.checking.faults import CheckCode, LoadCode
from services.results.errors.causes import GENERIC, Evidence, likely_cause
from services.results.errors.queries import LOOKED_AT
from shared.contracts.dialect import Dialect
from shared.reading.errors import FaultCode
from tests.results.conftest import Results
from tests.results.given import Database, completed, uploaded

EARLIER = "5c1b8f0e-7d1f-4c39-9c62-0d9f0a4f6d10"


async def fix(database: Database, import_id: UUID, line: int, by: UUID, row: int) -> None:
    await database.connection.execute(
        "INSERT INTO processor.fixes VALUES ($1, $2, $3, $4, $5)", "acme", import_id, line, by, row
    )
    await database.connection.execute(
        "INSERT INTO processor.corrections VALUES ($1, $2, $3, 1) ON CONFLICT (import_id, by_import)"
        " DO UPDATE SET rows_fixed = corrections.rows_fixed + 1",
        "acme", import_id, by,
    )  # fmt: skip


async def rows(results: Results, import_id: UUID, **filters: Any) -> list[int]:
    answer = await results.get(f"/imports/{import_id}/errors", **filters)
    assert answer.status_code == 200, answer.text
    return [item["row_number"] for item in answer.json()["items"]]


async def test_filters(results: Results, database: Database) -> None:
    import_id, by = await database.uploaded_import(), uuid4()
    await database.row_error(import_id, 1, value="50% off", code="not_a_number", column_name="price")
    await database.row_error(import_id, 2, value=None, raw_data="STRASSE_1,x", message="is Ärger")
    await database.row_error(import_id, 3, column_name=None, raw_data="straße\\1")
    await database.row_error(import_id, 3, 1, code="not_a_number")
    await fix(database, import_id, 4, by, 7)
    assert await rows(results, import_id, text="strasse") == [2, 3]
    assert await rows(results, import_id, text="ärger") == [2]
    assert await rows(results, import_id, text="50%") == [1]
    assert await rows(results, import_id, text="%") == [1]
    assert await rows(results, import_id, text="E_1") == [2]
    assert await rows(results, import_id, text="\\1") == [3]
    assert await rows(results, import_id, code="not_a_number") == [1, 3]
    assert await rows(results, import_id, code="not_a_number", column="isbn") == [3]
    assert await rows(results, import_id, status="open") == [1, 2]
    assert await rows(results, import_id, status="fixed") == [3, 3]
    assert await rows(results, import_id, status="fixed", code="not_a_number", text="CHECK DIGIT") == [3]
    answer = await results.get(f"/imports/{import_id}/errors", text="", status="lost")
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    first, *_, last = (await results.get(f"/imports/{import_id}/errors")).json()["items"]
    assert (first["status"], first["fixed_by"]) == ("open", None)
    assert (last["status"], last["fixed_by"]) == ("fixed", {"import_id": str(by), "row_number": 7})


async def test_pages_of_a_filtered_list_and_how_many_there_are(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    for number in range(1, 8):
        await database.row_error(import_id, number, value="odd" if number % 2 else "even")
    seen: list[int] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await results.get(
            f"/imports/{import_id}/errors", text="ODD", limit=2, total="exact", **cursor
        )
        seen += [item["row_number"] for item in answer.json()["items"]]
        assert answer.json()["total"] == 4
        if answer.json()["next_cursor"] is None:
            break
        cursor = {"cursor": answer.json()["next_cursor"]}
    assert seen == [1, 3, 5, 7]
    plain = (await results.get(f"/imports/{import_id}/errors")).json()
    assert (plain["total"], len(plain["items"])) == (None, 7)
    estimate = await results.get(f"/imports/{import_id}/errors", total="estimate", status="fixed")
    assert estimate.json()["total"] == 0


async def test_what_was_loaded_after_corrections(results: Results, database: Database, happen: Any) -> None:
    corrected, by, other = uuid4(), uuid4(), uuid4()
    counts = {"rows_processed": 10, "rows_inserted": 6, "rows_rejected": 3, "rows_duplicate": 1}
    await happen(uploaded(corrected), completed(corrected, **counts))
    await fix(database, corrected, 4, by, 1)
    await fix(database, corrected, 5, by, 2)
    await fix(database, corrected, 9, other, 1)
    shown = (await results.get(f"/imports/{corrected}")).json()
    assert (shown["rows_corrected"], shown["errors_open"], shown["corrects"]) == (3, 1, None)
    assert shown["corrected_by"] == [str(by), str(other)]
    await fix(database, corrected, 10, other, 2)
    assert (await results.get(f"/imports/{corrected}")).json()["errors_open"] == 0
    [listed] = (await results.get("/imports")).json()["items"]
    assert listed["rows_corrected"] == 4
    correcting = await database.uploaded_import(corrects=corrected)
    shown = (await results.get(f"/imports/{correcting}")).json()
    assert (shown["corrects"], shown["corrected_by"], shown["rows_corrected"]) == (str(corrected), [], 0)


async def test_the_summary(results: Results, database: Database, happen: Any) -> None:
    import_id = await database.uploaded_import()
    await happen(
        uploaded(import_id), completed(import_id, rows_processed=400, rows_inserted=394, rows_rejected=6)
    )
    await database.work(import_id)
    await database.error_count(import_id, "not_a_number", "price", 5)
    await database.error_count(import_id, "missing_cell", "", 1)
    for number, value in enumerate(["1,5", "1,5", "1,5", "2,5", "3,75"], 1):
        await database.row_error(
            import_id, number, code="not_a_number", column_name="price", value=value, hint="write 1.5"
        )
    await database.row_error(import_id, 9, code="missing_cell", column_name=None, value=None, hint=None)
    await fix(database, import_id, 2, uuid4(), 1)
    summary = (await results.get(f"/imports/{import_id}/errors/summary")).json()
    assert {name: summary[name] for name in summary if name != "groups"} == {
        "import_id": str(import_id),
        "rows_processed": 400,
        "rows_with_errors": 6,
        "rows_corrected": 1,
    }
    price, record = summary["groups"]
    assert (price["code"], price["column"], price["count"], price["share"]) == (
        "not_a_number",
        "price",
        5,
        0.0125,
    )
    assert price["examples"] == [
        {"row_number": 1, "line_number": 2, "value": "1,5"},
        {"row_number": 4, "line_number": 5, "value": "2,5"},
        {"row_number": 5, "line_number": 6, "value": "3,75"},
    ]
    assert price["likely_cause"] == (
        "All 5 values have a comma as decimal sign: the file was probably written with German or other continental settings"
    )
    assert price["hint"] == "write 1.5"
    assert (record["column"], record["count"], record["examples"][0]["value"]) == (None, 1, None)


async def test_a_summary_of_more_row_errors_than_are_kept(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    await database.work(import_id)
    await database.error_count(import_id, "isbn_invalid", "isbn", 70_000)
    empty = (await results.get(f"/imports/{import_id}/errors/summary")).json()
    assert empty["groups"][0] == {
        "code": "isbn_invalid", "column": "isbn", "count": 70_000, "share": 1.0, "examples": [], "hint": None,
        "likely_cause": GENERIC["isbn_invalid"],
    }  # fmt: skip
    for number in range(1, LOOKED_AT + 50):
        await database.row_error(import_id, number, code="isbn_invalid", value=f"9.{number}E+12")
    [group] = (await results.get(f"/imports/{import_id}/errors/summary")).json()["groups"]
    assert group["likely_cause"].startswith(
        "All of 200 values that were looked at (70,000 there are) are in scientific"
    )


def test_every_code_means_something() -> None:
    assert set(GENERIC) == {code for kind in (FaultCode, CheckCode, LoadCode) for code in get_args(kind)}
    for code, sentence in GENERIC.items():
        evidence = Evidence(code, count=2, rows_processed=9, values=[], messages=["?"], dialect=Dialect())
        assert likely_cause(evidence) == sentence
        assert "probably" not in sentence


def cause(code: str, *values: str, count: int = 0, said: str | None = None, **more: Any) -> str:
    messages = [said or f"{value!r} is wrong" for value in values] if values else [said or ""] * (count or 1)
    facts = {"rows_processed": 1000, "dialect": Dialect()} | more
    return likely_cause(
        Evidence(code=code, count=count or len(values) or 1, values=values, messages=messages, **facts)
    )


@pytest.mark.parametrize(
    ("code", "values", "words"),
    [
        ("not_a_number", ["1.234,50", "7,5"], "All 2 values have a comma as decimal sign"),
        ("not_a_number", ["$5", "€ 7.50"], "All 2 values begin with a currency sign"),
        ("not_a_number", ["5 EUR"], "The value ends with a currency sign"),
        ("not_a_number", ["5 pcs", "6 pcs", "7 kg", "8 kg", "?"], "4 of 5 values have a unit"),
        ("not_a_number", ["n/a", "NULL"], "All 2 values stand for no value"),
        ("not_a_number", ["#REF!"], "The value is an error of a spreadsheet's formula"),
        ("not_a_number", ["2024-03-01"], "looks like a date"),
        ("not_an_integer", ["2.5"], "The value has decimals"),
        ("not_a_date", ["45000", "45001"], "All 2 values are Excel serial numbers of days"),
        ("not_a_date", ["0000-00-00"], "zero date"),
        ("not_a_date", ["1700000000"], "Unix time"),
        ("not_a_datetime", ["########"], "too narrow"),
        ("isbn_invalid", ["9.78352E+12"], "scientific notation"),
        ("isbn_invalid", ["80442957X", "306406152"], "All 2 values are ISBNs without their leading zeros"),
        ("isbn_invalid", ["1234-5678"], "form of an ISSN"),
        ("isbn_invalid", ["4006381333931"], "does not begin with 978"),
        ("isbn_invalid", ["978-3-522-17750-5"], "check digit that does not fit"),
        ("isbn_invalid", ["9783522177504.0"], "decimal part of 0"),
        ("below_minimum", ["99", "05"], "years without their century"),
        ("above_maximum", ["20240301"], "looks like a whole date"),
        ("email_invalid", ["a@b.de; c@d.de"], "several addresses"),
        ("email_invalid", ["Ende"], "has no @"),
        ("uri_invalid", ["www.example.com/x"], "lacks the https://"),
        ("uuid_invalid", ["{0f3c8a52-6d1e-4b7a-9c55-2f1d3e4a5b6c}"], "stands in braces"),
        ("not_a_boolean", ["ja", "nein"], "in other words"),
        ("value_too_long", ["a\nb"], "a quote that should close the value is probably missing"),
        ("extra_cell", ["50", "99"], "decimal comma"),
    ],
)
def test_the_values_tell_the_cause(code: str, values: list[str], words: str) -> None:
    assert words in cause(code, *values)


def test_few_values_of_a_kind_tell_nothing() -> None:
    assert cause("not_a_number", "1,5", "x1", "y2") == GENERIC["not_a_number"]
    assert cause("isbn_invalid", "804429579") == GENERIC["isbn_invalid"]  # not even with its zero


def test_the_file_as_a_whole_tells_the_cause() -> None:
    assert "empty in every record" in cause("value_missing", count=1000)
    assert cause("value_missing", count=999) == GENERIC["value_missing"]
    assert "names columns that the export does not write" in cause(
        "missing_cell", count=1000, said="has 3 cells"
    )
    assert cause("missing_cell", count=10, said="has 3 cells") == GENERIC["missing_cell"]
    assert cause("extra_cell", "50", "99", dialect=Dialect(delimiter=";")) == GENERIC["extra_cell"]


def test_who_has_the_keys_tells_the_cause() -> None:
    brought = f"ISBN 1 is already there: record 3 of import {EARLIER} brought it"
    own = "ISBN 1 is already there: record 3 of this file has it"
    assert f"all 3 keys were brought by import {EARLIER}" in cause(
        "duplicate_key", "1", "2", "3", said=brought
    )
    assert f"the key was brought by import {EARLIER}" in cause("duplicate_key", "1", said=brought)
    assert "2 of 2 keys that were looked at were" in cause("duplicate_key", "1", "2", said=brought, count=9)
    assert "more than once" in cause("duplicate_key", "1", "2", said=own)
    assert cause("duplicate_key", "1", said="it is in the table") == GENERIC["duplicate_key"]
