"""What is forgotten, and what is not."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from services.notifier.deliveries import retention
from services.notifier.tables import inbox
from shared.platform.database import engine_for
from shared.platform.retention import handled_events
from tests.notifier.given_deliveries import made

NOWHERE = "http://127.0.0.1:1024/hook"
OLD, YOUNG = timedelta(days=31), timedelta(days=29)


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "notifier", pool_size=2)
    yield engine
    await engine.dispose()


async def test_what_is_older_than_the_retention_is_forgotten(resting, database, engine, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 3)
    kept, gone = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE)
    for webhook, days in ((kept, 29), (gone, 31)):
        await database.execute(
            "UPDATE notifier.endpoints SET enabled = false, disabled_reason = 'failing',"
            " disabled_at = now() - make_interval(days => $2) WHERE id = $1",
            UUID(webhook["id"]),
            days,
        )
    group, staying = uuid4(), []
    for status in ("succeeded", "failed", "skipped", "pending") * 2:
        # What is pending stays, however old: its endpoint may be enabled again.
        old = await made(database, kept, status=status, age=OLD, tries=1)
        staying += [old.id] if status == "pending" else []
        staying.append((await made(database, kept, status=status, age=YOUNG, tries=1)).id)
        await made(database, gone, status=status, age=OLD)
    for held in (False, True, True, True, True):
        await made(database, gone, status="pending", age=OLD, ordered_by=group, held=held)
    await database.execute(
        "INSERT INTO notifier.inbox SELECT 'q', uuidv7(), now() - make_interval(days => 27 + n)"
        " FROM generate_series(1, 10) n"
    )
    await database.execute(
        "INSERT INTO notifier.expansions (import_id, tenant, updated_at)"
        " SELECT uuidv7(), 'acme', now() - make_interval(days => 27 + n) FROM generate_series(1, 10) n"
    )
    rule = retention.rule(engine, 30)
    assert await rule.counted() == 6 + 13
    assert await rule.applied() == 6 + 13
    # Of 28 to 37 days those of 31 and more, and those of 30 days and some time.
    assert await handled_events(engine, inbox, 30).applied() == 8
    assert await ids(database, "SELECT id FROM notifier.deliveries") == sorted(staying)
    assert await ids(database, "SELECT delivery_id FROM notifier.attempts") == sorted(staying)
    assert await ids(database, "SELECT message_id FROM notifier.deliveries") == await ids(
        database, "SELECT id FROM notifier.messages"
    )
    for table, moment in (("inbox", "handled_at"), ("expansions", "updated_at")):
        assert await database.fetchval(f"SELECT count(*) FROM notifier.{table}") == 2
        assert await database.fetchval(
            f"SELECT min({moment}) > now() - interval '30 days' FROM notifier.{table}"
        )
    assert await rule.applied() == 0


async def ids(database, query):
    return sorted(row[0] for row in await database.fetch(query))


async def test_an_endpoint_that_is_enabled_meanwhile_keeps_the_first_ones(
    resting, database, engine, monkeypatch
):
    """The last ones go first: none is left that one holds which is gone."""
    monkeypatch.setattr(retention, "STEP", 2)
    webhook = await resting.webhook(NOWHERE)
    group = uuid4()
    for number in range(6):
        await made(database, webhook, status="pending", age=OLD, ordered_by=group, held=number > 0)
    disabled = "UPDATE notifier.endpoints SET enabled = $1, disabled_at = $2"
    await database.execute(disabled, False, await database.fetchval("SELECT now() - interval '31 days'"))
    one_step, steps = retention._step, []

    async def one_step_then_it_is_enabled(*arguments, **parameters):
        removed = await one_step(*arguments, **parameters)
        if "endpoint_id" in parameters:
            steps.append(len(removed))
            await database.execute(disabled, True, None)
        return removed

    monkeypatch.setattr(retention, "_step", one_step_then_it_is_enabled)
    await retention.rule(engine, 30).applied()
    assert steps == [2, 0]
    left = await database.fetch("SELECT sequence, held FROM notifier.deliveries ORDER BY 1")
    assert [tuple(row) for row in left] == [(1, False), (2, True), (3, True), (4, True)]
