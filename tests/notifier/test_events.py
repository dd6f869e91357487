"""What the notifier does with events of the bus."""

import json
from zoneinfo import ZoneInfo

import pytest

from shared.contracts.events import EVENTS, InvestigationOpened, event_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from tests.notifier.given import DONE_AT, cancelled, completed, failed

HANDLED = "SELECT count(*) FROM notifier.inbox"
HOOK = "https://8.8.8.8/"


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch):
    async def never(self):
        return []

    monkeypatch.setattr("services.notifier.delivery.worker.DeliveryWorker._claim", never)


async def test_each_enabled_endpoint_that_asked_gets_a_delivery(notifier, publish, database, eventually):
    wildcard = await notifier.webhook(HOOK, "import.*")
    exact = await notifier.webhook(HOOK, "investigation.opened", "import.completed")
    await notifier.webhook(HOOK, "import.failed")
    await notifier.webhook(HOOK, "import.*", tenant="other")
    disabled = await notifier.webhook(HOOK, "import.*")
    await database.execute("UPDATE notifier.endpoints SET enabled = false WHERE id = $1", disabled["id"])

    await publish(completed())
    await eventually(HANDLED, gives=1)

    rows = await database.fetch("SELECT endpoint_id, event_type, status FROM notifier.deliveries")
    assert {str(row["endpoint_id"]) for row in rows} == {wildcard["id"], exact["id"]}
    assert {(row["event_type"], row["status"]) for row in rows} == {("import.completed", "pending")}


async def test_the_payload_says_what_happened(notifier, publish, database, eventually):
    await notifier.webhook(HOOK)
    event = completed(rows_processed=3, rows_inserted=2, rows_rejected=1)
    await publish(event)
    await eventually(HANDLED, gives=2)  # the import and the investigation that it opened
    payload = json.loads(await database.fetchval("SELECT body FROM notifier.messages"))
    assert set(payload) == {"type", "timestamp", "data"}
    assert payload["type"] == "import.completed"
    assert payload["timestamp"].endswith("Z")
    assert payload["data"]["import_id"] == event.subject
    assert payload["data"]["file_name"] == "Bücher März.csv"
    assert (payload["data"]["rows_inserted"], payload["data"]["rows_rejected"]) == (2, 1)


async def test_an_event_that_comes_twice_counts_once(notifier, publish, database, eventually):
    await notifier.webhook(HOOK)
    event = failed()
    for _ in range(3):
        await publish(event)
    await publish(completed())
    await eventually("SELECT count(*) FROM bus.outbox WHERE queue = 'notifier.events'", gives=0)
    counts = await database.fetch(
        "SELECT event_type, count(*) FROM notifier.deliveries GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in counts] == [("import.completed", 1), ("import.failed", 1)]
    assert await database.fetchval("SELECT event_count FROM notifier.investigations") == 1


async def test_a_failed_import_opens_an_investigation_and_tells_of_it(
    notifier, publish, database, eventually
):
    await notifier.webhook(HOOK, "investigation.*")
    await publish(failed())
    await eventually("SELECT count(*) FROM notifier.deliveries", gives=1)
    payload = json.loads(await database.fetchval("SELECT body FROM notifier.messages"))
    assert payload["type"] == "investigation.opened"
    assert payload["data"]["reason"] == "import_failed"
    assert payload["data"]["supplier"] == "acme-books"
    response = await notifier.call("GET", f"/investigations/{payload['data']['investigation_id']}")
    (event,) = response.json()["events"]
    assert event["stage"] == "process"
    assert event["summary"] == "import of books.csv failed: byte 17 is not UTF-8"
    assert event["occurred_at"] == DONE_AT.isoformat().replace("+00:00", "Z")
    assert event["extra"]["import_id"]


async def test_a_cancelled_import_is_told_and_is_no_error(notifier, publish, database, eventually):
    everything = await notifier.webhook(HOOK, "import.*", "investigation.*")
    exact = await notifier.webhook(HOOK, "import.cancelled")
    await notifier.webhook(HOOK, "import.failed")
    event = cancelled()
    await publish(event)
    await eventually(HANDLED, gives=1)
    rows = await database.fetch("SELECT endpoint_id FROM notifier.deliveries")
    assert {str(row["endpoint_id"]) for row in rows} == {everything["id"], exact["id"]}
    payload = json.loads(await database.fetchval("SELECT body FROM notifier.messages"))
    assert (payload["type"], payload["data"]["import_id"]) == ("import.cancelled", event.subject)
    assert (payload["data"]["rows_inserted"], payload["data"]["rows_rejected"]) == (3, 1)
    assert await database.fetchval("SELECT count(*) FROM notifier.investigations") == 0


async def test_row_errors_of_a_source_are_one_investigation(notifier, publish, database, eventually):
    for number in range(3):
        await publish(completed(rows_rejected=number + 1, source=None))
    await publish(completed())
    await eventually("SELECT count(*) FROM notifier.inbox WHERE queue = 'notifier.events'", gives=5)
    rows = await database.fetch("SELECT reason, supplier, event_count FROM notifier.investigations")
    assert [tuple(row) for row in rows] == [("row_errors", None, 3)]


async def test_an_endpoint_deleted_takes_its_deliveries_along(notifier, publish, database, eventually):
    webhook = await notifier.webhook(HOOK)
    await publish(completed())
    await eventually("SELECT count(*) FROM notifier.deliveries", gives=1)
    assert (await notifier.call("DELETE", f"/webhooks/{webhook['id']}")).status_code == 204
    assert await database.fetchval("SELECT count(*) FROM notifier.deliveries") == 0


async def test_nothing_is_kept_when_the_transaction_fails(environment, database_url, database):
    """The inbox row, the deliveries and the investigation live and die together."""
    from services.notifier.consumer import subscription
    from services.notifier.logbook.logbook import Logbook

    engine = engine_for(database_url, "notifier", pool_size=2)

    async def broken(connection, *events):
        raise RuntimeError("the outbox is away")

    logbook = Logbook(broken, ZoneInfo("UTC"), quota=1000)
    handlers = subscription(engine, logbook, zone=ZoneInfo("UTC"), wake=lambda: None).handlers
    with pytest.raises(RuntimeError, match="outbox"):
        await handlers["import.failed"](failed())
    for table in (
        "inbox",
        "messages",
        "deliveries",
        "investigations",
        "fingerprints",
        "investigation_events",
    ):
        assert await database.fetchval(f"SELECT count(*) FROM notifier.{table}") == 0
    await engine.dispose()


async def test_an_investigation_opened_elsewhere_is_delivered_too(
    notifier, database_url, database, eventually
):
    webhook = await notifier.webhook(HOOK, "investigation.*")
    engine = engine_for(database_url, "notifier", pool_size=2)
    opened = InvestigationOpened(
        investigation_id=webhook["id"], stage="s", reason="r", supplier=None, summary="x", opened_at=DONE_AT
    )
    event = event_of(opened, tenant="acme", subject=webhook["id"], service="notifier")
    async with engine.begin() as connection:
        await Bus("notifier", database_url=database_url).publish(connection, event)
    await engine.dispose()
    await eventually("SELECT count(*) FROM notifier.deliveries", gives=1)


@pytest.mark.parametrize("kind", ["failing", "disabled"])
async def test_the_owner_of_a_failing_endpoint_is_told_elsewhere(
    notifier, publish, database, eventually, kind
):
    failing = await notifier.webhook("https://8.8.8.8/secret/path?key=k", "*")
    other = await notifier.webhook(HOOK, "endpoint.*")
    await notifier.webhook(HOOK, "import.*")
    await notifier.webhook(HOOK, "*", tenant="other")
    events = [endpoint_reported(kind, failing["id"], url) for url in ("https://a.test/1", "https://a.test/2")]
    for event in [*events, events[0]]:
        await publish(event)
    # Both are told, and are one investigation, of whose beginning both hear who asked for everything.
    await eventually("SELECT count(*) FROM notifier.deliveries", gives=3)
    rows = await database.fetch("SELECT endpoint_id, event_type FROM notifier.deliveries ORDER BY event_type")
    assert [(str(row["endpoint_id"]), row["event_type"]) for row in rows] == [
        (other["id"], f"endpoint.{kind}"),
        (other["id"], f"endpoint.{kind}"),
        (failing["id"], "investigation.opened"),
    ]
    [investigation] = await database.fetch("SELECT * FROM notifier.investigations")
    assert (investigation["stage"], investigation["reason"]) == ("webhook", f"endpoint_{kind}")
    assert investigation["severity"] == ("warning" if kind == "failing" else "error")
    assert "a.test" in investigation["summary"]
    reported = await database.fetch("SELECT event_id, extra FROM notifier.investigation_events")
    assert {row["event_id"] for row in reported} == {f"penstock:{event.id}" for event in events}
    assert {json.loads(row["extra"])["endpoint_id"] for row in reported} == {failing["id"]}
    assert "secret" not in str([*investigation.values(), *reported])


def endpoint_reported(kind, endpoint_id, url):
    values = {"percent": 50} if kind == "failing" else {"reason": "failing"}
    data = EVENTS[f"endpoint.{kind}"].model_validate(
        {
            "endpoint_id": endpoint_id,
            "url": url,
            "description": None,
            "failures": 12,
            "failing_since": DONE_AT,
            "disabled_at": DONE_AT,
            "response_status": 500,
            "error": None,
            **values,
        }
    )
    return event_of(data, tenant="acme", subject=endpoint_id, service="notifier")
