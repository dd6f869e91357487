from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.imports import api
from services.results.imports.adoption import sweep
from shared.platform import paging
from tests.results.conftest import Results
from tests.results.given import (
    NOON,
    SHA256,
    Database,
    cancelled,
    completed,
    failed,
    headers,
    progressed,
    resumed,
    uploaded,
)

Happen = Callable[..., Awaitable[None]]

MEMBERS = {
    "id", "dataset", "source", "file_name", "file_size", "sha256", "status", "dry_run", "rows_detected",
    "rows_processed", "rows_inserted", "rows_updated", "rows_unchanged", "rows_duplicate", "rows_rejected",
    "percent_complete", "estimated_seconds_left", "error_code", "error_message", "uploaded_at",
    "processing_started_at", "processing_completed_at", "links", "run", "rows_corrected",
}  # fmt: skip
DETAILS = {"options", "dialect", "explanation", "date_orders", "warnings", "error_counts", "errors_preview"}
DETAILS |= {"corrects", "corrected_by", "errors_open", "file_removed_at", "errors_removed_at"}


async def test_an_import_is_there_before_its_event(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    answer = await results.get(f"/imports/{import_id}")
    assert answer.status_code == 200
    shown = answer.json()
    assert set(shown) == MEMBERS | DETAILS
    assert shown["id"] == str(import_id)
    assert shown["status"] == "pending"
    assert (shown["rows_detected"], shown["rows_processed"], shown["percent_complete"]) == (100, 0, 0)
    assert shown["estimated_seconds_left"] is None
    assert shown["errors_preview"] == []
    assert shown["links"]["events"] == f"/api/v1/imports/{import_id}/events"
    assert shown["links"]["self"] == f"/api/v1/imports/{import_id}"
    assert shown["links"]["errors_summary"] == f"/api/v1/imports/{import_id}/errors/summary"


@pytest.mark.parametrize("of", ["", "/{}/errors"])
async def test_a_filter_that_there_is_not_is_refused(results: Results, database: Database, of: str) -> None:
    path = "/imports" + of.format(await database.uploaded_import())
    answer = await results.get(path, params={"staus": "failed", "limit": "1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "filter_unknown")
    assert {"status", "limit", "cursor", "total"} <= set(answer.json()["parameters"])
    nobody = await results.client.get(f"/api/v1{path}", params={"staus": "failed"})
    assert nobody.status_code == 401


async def test_progress_that_overtakes_the_upload_is_shown(
    results: Results, database: Database, happen: Happen
) -> None:
    import_id = await database.uploaded_import()
    await happen(progressed(import_id, 30))
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert (shown["status"], shown["percent_complete"], shown["sha256"]) == ("processing", 30.0, SHA256)
    assert (await results.get("/imports")).json()["items"] == []
    await happen(uploaded(import_id))
    assert len((await results.get("/imports")).json()["items"]) == 1


async def test_a_completed_import_with_row_errors(
    results: Results, database: Database, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), completed(import_id))
    for number in range(12):
        await database.row_error(import_id, number + 1)
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert (shown["status"], shown["percent_complete"]) == ("completed", 100.0)
    assert (shown["rows_processed"], shown["rows_inserted"], shown["rows_rejected"]) == (100, 97, 3)
    assert shown["processing_completed_at"] == "2026-03-01T12:00:09Z"
    assert [error["row_number"] for error in shown["errors_preview"]] == list(range(1, 11))


async def test_a_failed_import_says_why(results: Results, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 40), failed(import_id))
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert (shown["status"], shown["error_code"], shown["percent_complete"]) == (
        "failed",
        "file_unreadable",
        40,
    )
    assert shown["error_message"]


async def test_a_cancelled_import_says_what_was_loaded(results: Results, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 40), cancelled(import_id))
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert (shown["status"], shown["rows_inserted"], shown["rows_rejected"]) == ("cancelled", 48, 2)
    assert (shown["percent_complete"], shown["error_code"]) == (50, None)
    assert shown["processing_completed_at"]
    [listed] = (await results.get("/imports", status="cancelled")).json()["items"]
    assert listed["id"] == str(import_id)


async def test_a_retried_import_is_processing_again(results: Results, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), failed(import_id), resumed(import_id, 2))
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert (shown["status"], shown["run"], shown["rows_processed"]) == ("processing", 2, 40)
    assert (shown["error_code"], shown["error_message"], shown["processing_completed_at"]) == (
        None,
        None,
        None,
    )


async def test_how_a_file_is_read_and_why(results: Results, database: Database, happen: Happen) -> None:
    dialect = {"encoding": "cp1252", "delimiter": ";", "header_rows": 2}
    explanation = {
        "confidence": 0.9,
        "runner_up": "delimiter ','",
        "reasons": ["every record has 4 fields"],
        "lines": [{"line_number": 3, "text": "Titel;Autor"}],
        "given": ["encoding"],
    }
    options = {"dry_run": True, "max_rejected": 3, "date_order": "day-first"}
    import_id = await database.uploaded_import(dialect=dialect, explanation=explanation, options=options)
    await database.work(
        import_id,
        notes={"date_ambiguous:sold_at": 12},
        date_orders={"sold_at": "day-first"},
    )
    for told in (False, True):
        if told:
            await happen(uploaded(import_id, options=options))
        shown = (await results.get(f"/imports/{import_id}")).json()
        assert shown["dry_run"] is True
        assert shown["dialect"].items() >= dialect.items()
        assert shown["explanation"] == explanation
        assert shown["options"] == options | {"atomic": False, "max_rejected_share": None}
        assert shown["date_orders"] == {"sold_at": "day-first"}
        [warning] = shown["warnings"]
        assert (warning["code"], warning["column"], warning["count"]) == ("date_ambiguous", "sold_at", 12)
        assert (
            "12 values in column 'sold_at' could be read with the day or the month first"
            in warning["message"]
        )
    [listed] = (await results.get("/imports")).json()["items"]
    assert listed["dry_run"] is True


async def test_the_counts_of_row_errors_are_complete(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    await database.work(import_id)
    await database.error_count(import_id, "value_missing", "title", 5)
    await database.error_count(import_id, "missing_cell", "", 70_000)
    await database.error_count(import_id, "isbn_invalid", "isbn", 70_000)
    shown = (await results.get(f"/imports/{import_id}")).json()
    assert shown["error_counts"] == [
        {"code": "isbn_invalid", "column": "isbn", "count": 70_000},
        {"code": "missing_cell", "column": None, "count": 70_000},
        {"code": "value_missing", "column": "title", "count": 5},
    ]


@pytest.mark.parametrize("rest", ["", "/errors", "/errors.csv", "/receipt", "/events"])
async def test_another_tenants_import_is_not_there(
    results: Results, database: Database, happen: Happen, rest: str
) -> None:
    import_id = await database.uploaded_import(tenant="other")
    await happen(uploaded(import_id, tenant="other"), completed(import_id, tenant="other"))
    await database.row_error(import_id, 1, tenant="other")
    await database.receipt(import_id, tenant="other")
    answer = await results.get(f"/imports/{import_id}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "import_not_found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_lists_show_only_the_callers_tenant(results: Results, happen: Happen) -> None:
    await happen(uploaded(uuid4()), uploaded(uuid4(), tenant="other"))
    assert len((await results.get("/imports")).json()["items"]) == 1


async def test_the_list_is_newest_first_and_filtered(results: Results, happen: Happen) -> None:
    old, new, running = uuid4(), uuid4(), uuid4()
    await happen(
        uploaded(old, source="mail"),
        uploaded(new, uploaded_at=NOON + timedelta(seconds=1), dataset="products"),
        uploaded(running, uploaded_at=NOON - timedelta(seconds=1)),
        progressed(running, 10),
        completed(new),
    )

    async def ids(**filters: str) -> list[str]:
        return [item["id"] for item in (await results.get("/imports", **filters)).json()["items"]]

    assert await ids() == [str(new), str(old), str(running)]
    assert await ids(status="completed") == [str(new)]
    assert await ids(status="processing", dataset="books") == [str(running)]
    assert await ids(dataset="products") == [str(new)]
    assert await ids(source="mail") == [str(old)]
    assert await ids(source="nobody") == []
    first = (await results.get("/imports", limit=1)).json()["items"][0]
    assert set(first) == MEMBERS


async def test_pages_walk_every_import_once_while_more_arrive(results: Results, happen: Happen) -> None:
    there = [uuid4() for _ in range(25)]
    # Some share a time, so that the id has to decide.
    await happen(*(uploaded(i, uploaded_at=NOON + timedelta(seconds=n // 4)) for n, i in enumerate(there)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await results.get("/imports", limit=4, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        await happen(uploaded(uuid4(), uploaded_at=NOON + timedelta(hours=1)))
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(map(str, there))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cursor": "nonsense"}, "cursor_invalid"),
        ({"limit": 0}, "request_invalid"),
        ({"limit": 201}, "request_invalid"),
        ({"status": "done"}, "request_invalid"),
        ({"source": "a\0b"}, "request_invalid"),
    ],
)
async def test_bad_input_is_a_problem(results: Results, params: dict[str, Any], code: str) -> None:
    answer = await results.get("/imports", **params)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_the_callers_token_is_asked_for(results: Results) -> None:
    assert (await results.client.get("/api/v1/imports")).status_code == 401
    records_only = headers(results.secret, "acme", "records:read")
    answer = await results.client.get("/api/v1/imports", headers=records_only)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_row_errors_in_file_order_by_pages(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    there = [(row, ordinal) for row in range(1, 8) for ordinal in range(row % 3 + 1)]
    for row, ordinal in reversed(there):
        await database.row_error(import_id, row, ordinal, message=f"{row}.{ordinal}")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await results.get(f"/imports/{import_id}/errors", limit=3, **cursor)).json()
        seen += [item["message"] for item in page["items"]]
        await database.row_error(import_id, len(seen), 100, message="later")
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [message for message in seen if message != "later"] == [f"{r}.{o}" for r, o in there]


async def test_a_row_error_and_its_filters(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    await database.row_error(import_id, 1)
    await database.row_error(import_id, 2, code="ragged_row", column_name=None, value=None, hint=None)
    path = f"/imports/{import_id}/errors"
    (shown,) = (await results.get(path, column="isbn")).json()["items"]
    assert shown == {
        "row_number": 1,
        "line_number": 2,
        "byte_offset": 10,
        "column": "isbn",
        "code": "isbn_checksum",
        "message": "the check digit does not fit",
        "value": "978-0",
        "raw_data": "Momo,Ende,978-0,1973",
        "rule": "isbn",
        "hint": "look at the last digit",
        "status": "open",
        "fixed_by": None,
    }
    (ragged,) = (await results.get(path, code="ragged_row")).json()["items"]
    assert ragged["column"] is None
    assert (await results.get(path, code="ragged_row", column="isbn")).json()["items"] == []


async def test_a_cursor_of_another_imports_errors_is_refused(results: Results, database: Database) -> None:
    one, other = await database.uploaded_import(), await database.uploaded_import()
    for number in (1, 2):
        await database.row_error(one, number)
    cursor = (await results.get(f"/imports/{one}/errors", limit=1)).json()["next_cursor"]
    answer = await results.get(f"/imports/{other}/errors", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


async def test_the_receipt_comes_with_the_end(results: Results, database: Database, happen: Happen) -> None:
    import_id = await database.uploaded_import()
    answer = await results.get(f"/imports/{import_id}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_ready")
    assert answer.json()["hint"]
    await database.receipt(import_id)
    receipt = (await results.get(f"/imports/{import_id}/receipt")).json()
    assert (receipt["rows_read"], receipt["rows_rejected"], receipt["sha256"]) == (100, 3, SHA256)


async def test_a_failed_import_has_no_receipt(results: Results, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), failed(import_id))
    answer = await results.get(f"/imports/{import_id}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_found")


async def test_an_id_that_is_none_is_refused(results: Results) -> None:
    assert (await results.get("/imports/7")).json()["code"] == "request_invalid"


async def test_the_service_is_ready(results: Results) -> None:
    answer = await results.client.get("/health/ready")
    assert answer.status_code == 200, answer.text


async def test_filters_of_the_list(results: Results, database: Database, happen: Happen) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    await happen(
        uploaded(first, file_name="Bücher_100%.csv"),
        uploaded(second, file_name="BÜCHER_2.csv", uploaded_at=NOON + timedelta(days=1)),
        uploaded(third, file_name="parts.csv", uploaded_at=NOON + timedelta(days=2)),
        failed(second),
        completed(third),
    )

    async def found(**filters: Any) -> list[int]:
        page = (await results.get("/imports", **filters, total="exact")).json()
        assert page["total"] == len(page["items"])
        names = {str(first): 1, str(second): 2, str(third): 3}
        return [names[item["id"]] for item in page["items"]]

    assert await found(status=["failed", "completed"]) == [3, 2]
    assert await found(file_name="bücher") == [2, 1]
    assert await found(file_name="_1") == [1]
    assert await found(file_name="%") == [1]
    assert await found(file_name="x.csv") == []
    # From a moment on, and up to another one, which is left out.
    assert await found(uploaded_from="2026-03-02T12:00:00Z") == [3, 2]
    assert await found(uploaded_from="2026-03-02T13:00:00.001+01:00") == [3]
    assert await found(uploaded_to="2026-03-02T12:00:00Z") == [1]
    assert await found(uploaded_from="2026-03-02", uploaded_to="2026-03-03") == [2]
    assert await found(uploaded_from="2026-03-03", uploaded_to="2026-03-01") == []
    assert await found(
        status="failed", dataset="books", source="partner", file_name="2", uploaded_from="2026-03-01"
    ) == [2]


@pytest.mark.parametrize(
    "said",
    ["yesterday", "2026-02-30", "2026-03-01T12:00:00", "1700000000", "20260301", "2026-W09-1", "0000-01-01"],
)
async def test_a_time_that_is_none_is_refused_with_an_example(results: Results, said: str) -> None:
    answer = await results.get("/imports", uploaded_from=said)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    [error] = answer.json()["errors"]
    assert error["field"] == "query.uploaded_from"
    assert "2026-03-01T08:30:00Z" in error["message"]


async def test_how_many_there_are_is_told_where_it_is_asked(
    results: Results, database: Database, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    await happen(*(uploaded(uuid4()) for _ in range(3)), uploaded(uuid4(), tenant="other"))
    await database.uploaded_import(uploaded_at=datetime.now(UTC))
    assert (await results.get("/imports")).json()["total"] is None
    for how in ("exact", "estimate"):
        page = (await results.get("/imports", limit=1, total=how)).json()
        assert page["total"] == 4
        second = (await results.get("/imports", limit=1, total=how, cursor=page["next_cursor"])).json()
        assert second["total"] == 4
    monkeypatch.setattr(paging, "COUNTED_IN_AN_ESTIMATE", 2)
    assert (await results.get("/imports", total="estimate")).json()["total"] >= 3
    assert (await results.get("/imports", total="about")).status_code == 422


async def test_a_list_that_takes_too_long_is_given_up(
    results: Results, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "QUERY_SECONDS", 0.1)
    async with database.connection.transaction():
        await database.connection.execute("LOCK TABLE results.imports")
        answer = await results.get("/imports", file_name="book", total="exact")
    assert (answer.status_code, answer.json()["code"]) == (503, "query_timeout")
    assert "too many imports" in answer.json()["detail"]
    assert "uploaded_from" in answer.json()["hint"]


async def test_the_list_has_imports_that_no_event_has_told_of(
    results: Results, database: Database, happen: Happen
) -> None:
    """Each once, whether nothing has arrived, progress alone, or all; and in the order of the list."""
    now = datetime.now(UTC)
    ids = [await database.uploaded_import(uploaded_at=now - timedelta(seconds=n)) for n in range(6)]
    await database.uploaded_import(tenant="other", uploaded_at=now)
    await happen(progressed(ids[1], 30), uploaded(ids[2], uploaded_at=now - timedelta(seconds=2)))
    await happen(completed(ids[4]))
    seen: list[tuple[str, str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await results.get("/imports", limit=2, **cursor)).json()
        seen += [(item["id"], item["status"]) for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    states = ["pending", "processing", "pending", "pending", "completed", "pending"]
    assert seen == [(str(i), state) for i, state in zip(ids, states, strict=True)]
    pending = (await results.get("/imports", status="pending", file_name="BOOKS")).json()["items"]
    assert [item["id"] for item in pending] == [str(ids[n]) for n in (0, 2, 3, 5)]


async def test_an_import_whose_event_never_comes_is_adopted(
    results: Results, engine: AsyncEngine, database: Database, happen: Happen
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=30)
    lost, overtaken, told = [await database.uploaded_import(uploaded_at=long_ago) for _ in range(3)]
    await happen(progressed(overtaken, 30), uploaded(told, uploaded_at=long_ago), completed(told))
    assert len((await results.get("/imports")).json()["items"]) == 1
    swept = await sweep(engine, None)
    found = {item["id"]: item for item in (await results.get("/imports")).json()["items"]}
    assert {name: item["status"] for name, item in found.items()} == {
        str(lost): "pending", str(overtaken): "processing", str(told): "completed",
    }  # fmt: skip
    # What is older than the last sweep was there then.
    await database.connection.execute("DELETE FROM results.imports WHERE import_id = $1", lost)
    recent = await database.uploaded_import(uploaded_at=datetime.now(UTC) - timedelta(minutes=2))
    await sweep(engine, swept)
    listed = {item["id"] for item in (await results.get("/imports")).json()["items"]}
    assert listed == {str(recent), str(overtaken), str(told)}
    # The event comes after all, and the import goes on.
    await happen(uploaded(recent), completed(recent))
    assert (await results.get(f"/imports/{recent}")).json()["status"] == "completed"
