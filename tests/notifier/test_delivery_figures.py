"""What waits too long to be sent, and what attempts are counted as."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from services.notifier.delivery.figures import past_due
from shared.platform.database import engine_for
from shared.platform.telemetry.figures import ATTEMPTS, EVENT_TO_DELIVERY_SECONDS
from tests.notifier.given import completed
from tests.notifier.given_deliveries import made
from tests.notifier.receiver import Answer, receiving

NOWHERE = "http://127.0.0.1:1024/hook"
HOUR = timedelta(hours=1)


@pytest.fixture
async def figures(database_url):
    engine = engine_for(database_url, "notifier", pool_size=1)

    async def read() -> tuple[float, float]:
        async with engine.connect() as connection:
            number, seconds = await past_due(connection)
        return number.value, seconds.value / 3600

    yield read
    await engine.dispose()


def about(hours: float):
    return pytest.approx(hours, abs=0.2)


async def test_what_is_due_and_in_nobodys_hands_is_late(resting, database, figures):
    assert await figures() == (0, 0)
    first, second = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE)
    await made(database, first, status="pending", due_in=-HOUR)
    await made(database, first, status="pending", due_in=-2 * HOUR)
    await made(database, second, status="pending", due_in=-3 * HOUR)
    await made(database, second, status="pending", due_in=HOUR)  # a retry
    await made(database, second, status="pending", due_in=HOUR, leased=True)
    await made(database, second, status="pending", due_in=-9 * HOUR, held=True, ordered_by=uuid4())
    await made(database, second, status="failed", age=9 * HOUR)
    assert await figures() == (3, about(3))


async def test_what_may_not_be_sent_is_not_late(resting, database, figures):
    disabled, open_circuit, paced = [await resting.webhook(NOWHERE) for _ in range(3)]
    for webhook in (disabled, open_circuit, paced):
        await made(database, webhook, status="pending", due_in=-9 * HOUR)
    assert await figures() == (3, about(9))
    await database.execute(
        "UPDATE notifier.endpoints SET enabled = false, disabled_at = now(), disabled_reason = 'failing' WHERE id = $1",
        UUID(disabled["id"]),
    )
    health = (
        "INSERT INTO notifier.endpoint_health (endpoint_id, tenant, {0}) VALUES ($1, 'acme', now() + $2)"
        " ON CONFLICT (endpoint_id) DO UPDATE SET {0} = excluded.{0}"
    )
    await database.execute(health.format("probe_at"), UUID(open_circuit["id"]), HOUR)
    await database.execute(health.format("paced_to"), UUID(paced["id"]), HOUR)
    assert await figures() == (0, 0)
    # From the moment on that it may be sent, and is not, it is late.
    await database.execute(health.format("probe_at"), UUID(open_circuit["id"]), -2 * HOUR)
    await database.execute(health.format("paced_to"), UUID(paced["id"]), -HOUR)
    assert await figures() == (2, about(2))


def attempts() -> dict[str, float]:
    """By result, of all that this process has made so far."""
    return {
        sample.labels["result"]: sample.value
        for family in ATTEMPTS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def delivered() -> float:
    """How many events were told for the first time, so far."""
    [family] = EVENT_TO_DELIVERY_SECONDS.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_count"))


@pytest.mark.usefixtures("fast_retries")
async def test_each_attempt_is_counted_and_each_event_once(notifier, publish, eventually):
    tried, told = attempts(), delivered()
    async with receiving(Answer(500), Answer(302), Answer(404)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        await publish(completed())
        await eventually("SELECT status FROM notifier.deliveries", gives="succeeded")
        assert delivered() == told + 1
        # Sent again by hand, it says nothing of how quick deliveries are.
        replay = {"since": "2000-01-01", "status": "all"}
        assert (
            await notifier.call("POST", f"/webhooks/{webhook['id']}/replay", json=replay)
        ).status_code == 202
        await eventually("SELECT attempts_made FROM notifier.deliveries", gives=5)
        assert not any(
            "traceparent" in request.headers for request in receiver.received
        )  # the event had none
    assert delivered() == told + 1
    risen = {result: count - tried.get(result, 0) for result, count in attempts().items()}
    assert {result: count for result, count in risen.items() if count} == {
        "5xx": 1,
        "3xx": 1,
        "4xx": 1,
        "succeeded": 2,
    }
