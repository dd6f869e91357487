"""What pipelines report, for pages that show it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.console.origin import Tenant

MARKUP = "<img src=x onerror=\"document.title='taken'\">"


def today() -> date:
    """As the stack counts days. Ask once a test: there may be midnight between."""
    return datetime.now(UTC).date()


def yesterday() -> date:
    return today() - timedelta(days=1)


def error(summary: str, **more: Any) -> dict[str, Any]:
    return {"stage": "load_ftp", "reason": "file_read", "summary": summary, **more}


def good_file(supplier: str, day: date, rows: int = 100) -> dict[str, Any]:
    """A file of which all records came through."""
    file = {"path": f"/in/{supplier}/{day}.csv", "rows": rows}
    return _on(day, supplier, action="resolve", stage="load_ftp", reason="file_read", file=file)


def bad_file(supplier: str, day: date, **more: Any) -> dict[str, Any]:
    return _on(day, supplier, **error("cannot open it", file={"path": f"/in/{supplier}/{day}.csv"}), **more)


async def log(tenant: Tenant, *events: dict[str, Any]) -> list[str]:
    """The investigations of the events, None for one that waits for its supplier."""
    answer = await tenant.api.post("/investigation-events/batch", list(events))
    assert answer.status_code == 202, answer.text
    assert answer.json()["refused"] == 0, answer.text
    return [item["investigation_id"] for item in answer.json()["items"]]


async def add_suppliers(tenant: Tenant, *suppliers: dict[str, Any]) -> None:
    for supplier in suppliers:
        answer = await tenant.api.post("/suppliers", supplier)
        assert answer.status_code == 201, answer.text


def _on(day: date, supplier: str, **more: Any) -> dict[str, Any]:
    return {"occurred_at": f"{day}T06:00:00Z", "supplier": supplier, **more}
