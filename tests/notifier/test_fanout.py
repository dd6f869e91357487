"""Messages become deliveries: for whom, with which numbers, and in which order, however many do it at once."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.notifier.delivery import repository
from services.notifier.messages.fanout import RETENTION, Message, add_messages, deliver, fan_out
from shared.platform.database import engine_for

CREATED, UPDATED, DONE = "product.created", "product.updated", "import.completed"


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "notifier", pool_size=12)
    yield engine
    await engine.dispose()


@pytest.fixture
def endpoint(database):
    async def make(*event_types, tenant="acme", **values) -> UUID:
        columns = {
            "tenant": tenant,
            "url": "https://8.8.8.8/",
            "secret": "s",
            "event_types": list(event_types),
            **values,
        }
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        return await database.fetchval(
            f"INSERT INTO notifier.endpoints ({', '.join(columns)}) VALUES ({places}) RETURNING id",
            *columns.values(),
        )

    return make


@pytest.fixture
def tell(engine):
    async def tell(*types, tenant="acme", retention=RETENTION, **options) -> int:
        event_id = uuid4()
        messages = [
            Message(tenant, event_id, name, name.encode(), part, **options) for part, name in enumerate(types)
        ]
        async with engine.begin() as connection:
            return await fan_out(connection, messages, retention=retention)

    return tell


async def deliveries(database, endpoint_id, *columns):
    names = ", ".join(columns)
    query = f"SELECT {names} FROM notifier.deliveries WHERE endpoint_id = $1 ORDER BY sequence"
    return [tuple(row) for row in await database.fetch(query, endpoint_id)]


async def told(database, endpoint_id) -> list[str]:
    return [name for (name,) in await deliveries(database, endpoint_id, "event_type")]


async def test_an_endpoint_gets_what_it_asked_for(endpoint, tell, database):
    exact, family, everything = await endpoint(CREATED), await endpoint("product.*"), await endpoint("*")
    both = await endpoint("product.created", "product.*", "*")
    stranger = await endpoint("*", tenant="other")
    assert await tell(CREATED, UPDATED, DONE) == 1 + 2 + 3 + 3
    assert await told(database, exact) == [CREATED]
    assert await told(database, family) == [CREATED, UPDATED]
    assert await told(database, everything) == await told(database, both) == [CREATED, UPDATED, DONE]
    assert await told(database, stranger) == []
    rows = await database.fetch(
        """
        SELECT d.sequence, d.event_type, convert_from(m.body, 'UTF8') AS body, m.part, m.tenant FROM notifier.deliveries d
        JOIN notifier.messages m ON m.id = d.message_id AND m.event_id = d.event_id
        WHERE endpoint_id = $1 ORDER BY 1
        """,
        family,
    )
    assert [tuple(row) for row in rows] == [
        (1, CREATED, CREATED, 0, "acme"),
        (2, UPDATED, UPDATED, 1, "acme"),
    ]


async def test_a_body_that_nobody_asked_for_is_not_kept(endpoint, tell, database):
    await endpoint(CREATED)
    assert await tell(CREATED, UPDATED) == 1
    assert await tell(DONE) == await tell(DONE, ordered_by=uuid4()) == 0
    assert await database.fetch("SELECT event_type FROM notifier.messages") == [(CREATED,)]


async def test_datasets_and_who_is_left_out(endpoint, tell, database):
    books, any_dataset = await endpoint("*", datasets=["books", "parts"]), await endpoint("*")
    await tell(CREATED, dataset="products")
    await tell("book.created", dataset="books")
    await tell("investigation.opened")
    await tell("endpoint.failing", other_than=any_dataset)
    assert await told(database, books) == ["book.created", "investigation.opened", "endpoint.failing"]
    assert await told(database, any_dataset) == [CREATED, "book.created", "investigation.opened"]


async def test_while_an_endpoint_is_disabled_its_deliveries_are_skipped(endpoint, tell, database):
    lately, long_ago = await endpoint("*", enabled=False), await endpoint("*", enabled=False)
    for endpoint_id, days in ((lately, 29), (long_ago, 31)):
        disabled = (
            "UPDATE notifier.endpoints SET disabled_at = now() - make_interval(days => $2) WHERE id = $1"
        )
        await database.execute(disabled, endpoint_id, days)
    for _ in range(2):
        await tell(DONE, ordered_by=lately, retention=timedelta(days=30))
    columns = ("sequence", "status", "held", "next_attempt_at", "finished_at IS NULL")
    assert await deliveries(database, lately, *columns) == [
        (1, "skipped", False, None, False),
        (2, "skipped", False, None, False),
    ]
    assert await deliveries(database, long_ago, *columns) == []


async def test_what_belongs_together_waits_for_those_before(endpoint, tell, database):
    endpoint_id, one, other = await endpoint("*"), uuid4(), uuid4()
    await tell(CREATED, UPDATED, ordered_by=one)
    await tell(DONE, ordered_by=one)
    await tell(DONE, ordered_by=other)
    await tell(DONE)
    held = await deliveries(database, endpoint_id, "held")
    assert held == [(False,), (True,), (True,), (False,), (False,)]

    # Those that were tried so often hold up nobody any more, nor do those that are finished.
    await database.execute("UPDATE notifier.deliveries SET tries = 3 WHERE ordered_by = $1", other)
    await tell(DONE, ordered_by=other)
    await database.execute(
        "UPDATE notifier.deliveries SET status = 'failed', held = false, next_attempt_at = NULL, finished_at = now() WHERE ordered_by = $1",
        one,
    )
    await tell(DONE, ordered_by=one)
    assert (await deliveries(database, endpoint_id, "held"))[len(held) :] == [(False,), (False,)]


async def test_messages_of_several_tenants_and_events_at_once(endpoint, engine, database):
    mine, other, theirs = (
        await endpoint("*"),
        await endpoint("*"),
        await endpoint("product.*", tenant="other"),
    )
    one, two = uuid4(), uuid4()
    messages = [
        Message("acme", uuid4(), CREATED, b"1", ordered_by=one),
        Message("other", uuid4(), CREATED, b"2", ordered_by=one),
        Message("acme", uuid4(), DONE, b"3", ordered_by=two, other_than=mine),
        Message("acme", uuid4(), UPDATED, b"4"),
        Message("acme", uuid4(), UPDATED, b"5", ordered_by=one),
        Message("other", uuid4(), DONE, b"6"),
    ]
    async with engine.begin() as connection:
        assert await fan_out(connection, messages) == 3 + 1 + 4
    columns = ("sequence", "event_type", "ordered_by", "held")
    common = [(CREATED, one, False), (UPDATED, None, False), (UPDATED, one, True)]
    assert await deliveries(database, mine, *columns) == [(nth, *row) for nth, row in enumerate(common, 1)]
    common.insert(1, (DONE, two, False))
    assert await deliveries(database, other, *columns) == [(nth, *row) for nth, row in enumerate(common, 1)]
    assert await deliveries(database, theirs, "tenant", *columns) == [("other", 1, CREATED, one, False)]
    assert await database.fetchval("SELECT count(*) FROM notifier.messages WHERE body = '6'") == 0


async def test_stored_messages_are_delivered_as_others_are(endpoint, engine, database):
    sales_only, everything = await endpoint("*", datasets=["sales"]), await endpoint("*")
    options = {"tenant": "acme", "event_id": uuid4()}
    about = {"sale.created": "sales", CREATED: "products", UPDATED: "products"}
    messages = [
        Message(event_type=name, body=b"{}", part=part, dataset=dataset, **options)
        for part, (name, dataset) in enumerate(about.items(), start=1)
    ]
    async with engine.begin() as connection:
        stored = await add_messages(connection, messages)
        made = await deliver(
            connection, stored=stored, ordered_by=uuid4(), retention=timedelta(days=30), **options
        )
        assert made == 4
    columns = ("sequence", "event_type", "held")
    assert await deliveries(database, sales_only, *columns) == [(1, "sale.created", False)]
    assert await deliveries(database, everything, *columns) == [
        (1, "sale.created", False),
        (2, CREATED, True),
        (3, UPDATED, True),
    ]


async def test_who_waited_for_the_lock_sees_what_was_finished_meanwhile(endpoint, engine, tell, database):
    """Else it waits for what has let others go already, for ever."""
    one, group = await endpoint("*"), uuid4()
    await tell(CREATED, ordered_by=group)
    async with engine.begin() as connection:
        await repository.lock_endpoints(connection, [one])
        telling = asyncio.create_task(tell(UPDATED, ordered_by=group))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(15):
            while not await database.fetchval(waits):
                await asyncio.sleep(0.01)
        await connection.execute(
            text(
                "UPDATE notifier.deliveries SET status = 'succeeded', next_attempt_at = NULL, finished_at = now()"
            )
        )
    await telling
    assert await deliveries(database, one, "status", "held") == [("succeeded", False), ("pending", False)]


async def test_numbers_have_no_gaps_and_nobody_waits_for_ever(endpoint, engine, database):
    """Events are consumed, and deliveries recorded and released, all at once; some transactions are rolled back."""
    endpoints = [await endpoint("*"), await endpoint("product.*"), await endpoint("import.*")]
    groups = [uuid4() for _ in range(3)]
    done = {"telling": False}
    went: dict[tuple[UUID, UUID], list[int]] = {}

    async def teller(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(25):
            kinds = [draw.choice((CREATED, UPDATED, DONE)) for _ in range(draw.randint(1, 3))]
            messages = [
                Message("acme", uuid4(), kind, b"{}", ordered_by=draw.choice([*groups, None]))
                for kind in kinds
            ]
            async with engine.connect() as connection:
                await fan_out(connection, messages)
                await asyncio.sleep(draw.random() / 500)
                await (connection.rollback() if draw.random() < 0.3 else connection.commit())

    async def one_turn(draw: random.Random) -> int:
        """Attempt some of what is due, as the engine does: locks, records, releases."""
        async with engine.begin() as connection:
            due = await connection.execute(
                text(
                    "SELECT id, endpoint_id FROM notifier.deliveries WHERE status = 'pending' AND NOT held LIMIT 7"
                )
            )
            picked = due.all()
            await repository.lock_endpoints(connection, {row.endpoint_id for row in picked})
            # Most succeed; some fail, and hold up those behind them until they have failed three times.
            recorded = await connection.execute(
                text("""
                    UPDATE notifier.deliveries SET tries = tries + 1, status = CASE WHEN :fails THEN status ELSE 'succeeded' END,
                        next_attempt_at = CASE WHEN :fails THEN next_attempt_at END,
                        finished_at = CASE WHEN NOT :fails THEN now() END
                    WHERE id = ANY (:ids) AND status = 'pending' AND NOT held
                    RETURNING id, endpoint_id, ordered_by, sequence, status
                """),
                {"ids": [row.id for row in picked], "fails": draw.random() < 0.3},
            )
            rows = recorded.all()
            await repository.release_next(connection, [row.id for row in rows], timedelta())
        for row in sorted(rows, key=lambda row: row.sequence):
            if row.status == "succeeded" and row.ordered_by:
                went.setdefault((row.endpoint_id, row.ordered_by), []).append(row.sequence)
        return len(picked)

    async def engine_of(seed: int) -> None:
        draw = random.Random(seed)
        while await one_turn(draw) or not done["telling"]:
            await asyncio.sleep(0)

    engines = [asyncio.create_task(engine_of(100 + number)) for number in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(teller(seed) for seed in range(6)))
        done["telling"] = True
        await asyncio.gather(*engines)

    for endpoint_id in endpoints:
        rows = await deliveries(database, endpoint_id, "sequence", "status")
        assert rows == [(number, "succeeded") for number in range(1, len(rows) + 1)]
        last = "SELECT last_sequence FROM notifier.endpoints WHERE id = $1"
        assert await database.fetchval(last, endpoint_id) == len(rows) > 30
    assert went
