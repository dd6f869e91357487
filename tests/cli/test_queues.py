"""`penstock queues`: what waits on the bus, and dead letters that are looked at, sent again, or thrown away."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import asyncpg
import pytest

from shared.contracts.events import CanarySent, SliceProcess, event_of
from shared.contracts.topology import DEAD_EXCHANGE, PROCESSOR_IMPORTS, QUEUES
from shared.platform.bus import Bus, Subscription
from tests.bus.conftest import until
from tests.cli.given import in_process

QUEUE = PROCESSOR_IMPORTS.name


async def run(*arguments: str, **environment: str):
    return await asyncio.to_thread(in_process, *arguments, **environment)


def command(slice_number: int, tenant: str = "acme"):
    import_id = uuid4()
    data = SliceProcess(import_id=import_id, slice=slice_number)
    return event_of(data, tenant=tenant, subject=import_id, service="processor")


def canary():
    return event_of(CanarySent(queue=QUEUE), tenant="penstock", subject=QUEUE, service="processor")


@pytest.fixture
async def database(database_url):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def bury(database, *bodies: bytes, queue: str = QUEUE) -> list[int]:
    """Dead letters, as the last failed attempt leaves them; their numbers."""
    return [
        await database.fetchval(
            "INSERT INTO bus.dead_letters (original_id, queue, payload, deliveries_count, created_at, failure_reason,"
            " last_exception) VALUES (0, $1, $2, 10, now(), 'retry_terminal', E'OSError(''away'')\\nin many lines')"
            " RETURNING id",
            queue,
            body,
        )
        for body in bodies
    ]


async def outbox(database) -> list[tuple[str, bytes, int]]:
    rows = await database.fetch("SELECT queue, payload, attempts_count FROM bus.outbox ORDER BY id")
    return [tuple(row) for row in rows]


async def test_what_waits_is_in_hand_and_is_dead_by_queue(database, database_url) -> None:
    await database.execute(
        "INSERT INTO bus.outbox (queue, payload, next_attempt_at, acquired_at, acquired_token) VALUES"
        " ($1, 'x', now() - interval '2 hours', NULL, NULL), ($1, 'x', now(), now(), gen_random_uuid()),"
        " ($1, 'x', now() + interval '1 hour', NULL, NULL), ('relay.upload', 'x', now(), NULL, NULL)",
        QUEUE,
    )
    await bury(database, command(1).to_bytes())
    listed = await run("queues", "list", PENSTOCK_DATABASE_URL=database_url)
    assert listed.exit_code == 0, listed.stderr
    rows = [line.split("  ") for line in listed.stdout.splitlines()]
    cells = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert cells["QUEUE"] == ["WAITING", "IN HAND", "SCHEDULED", "OLDEST", "DEAD", "CONSUMERS"]
    assert cells[QUEUE] == ["1", "1", "1", "2 h 0 min", "1", "0"]
    assert cells["relay.upload"][0] == "1"
    assert {queue.name for queue in QUEUES} < set(cells)
    as_json = json.loads((await run("queues", "list", "--json", PENSTOCK_DATABASE_URL=database_url)).stdout)
    [ours] = [each for each in as_json if each["queue"] == QUEUE]
    assert ours["oldest_seconds"] >= 7200
    assert (ours["waiting"], ours["dead"]) == (1, 1)


async def test_a_dead_letter_is_shown_sent_again_or_removed(database, database_url) -> None:
    first, second = command(1), command(2)
    ids = await bury(database, first.to_bytes(), second.to_bytes(), canary().to_bytes(), b"{no event")
    here = {"PENSTOCK_DATABASE_URL": database_url}

    listed = json.loads((await run("queues", "dead", QUEUE, "--json", **here)).stdout)
    assert [each["id"] for each in listed] == ids[::-1]
    assert listed[-1] | {"created_at": 0, "failed_at": 0} == {
        "id": ids[0],
        "queue": QUEUE,
        "event_id": str(first.id),
        "type": "slice.process",
        "tenant": "acme",
        "subject": first.subject,
        "created_at": 0,
        "failed_at": 0,
        "deliveries": 10,
        "reason": "retry_terminal",
        "error": "OSError('away')\nin many lines",
    }
    table = (await run("queues", "dead", QUEUE, "--limit", "1", **here)).stdout.splitlines()
    assert len(table) == 2
    assert "no event" in table[1]
    assert table[1].endswith("OSError('away')")
    shown = json.loads((await run("queues", "show", str(ids[0]), **here)).stdout)
    assert shown["event"]["data"] == {"import_id": first.subject, "slice": 1}
    assert json.loads((await run("queues", "show", str(ids[3]), **here)).stdout)["body"] == "{no event"

    refused = await run("queues", "redrive", QUEUE, str(ids[0]), "999999", **here)
    assert (refused.exit_code, "999999" in refused.stderr) == (1, True)
    assert await outbox(database) == []
    for wrong in (["redrive", QUEUE], ["redrive", QUEUE, "1", "--all"], ["redrive", "no.queue", "--all"]):
        assert (await run("queues", *wrong, **here)).exit_code == 2
    one = await run("queues", "redrive", QUEUE, str(ids[1]), **here)
    assert one.stdout == f"1 sent to {QUEUE} again.\n", one.stderr
    assert await outbox(database) == [(QUEUE, second.to_bytes(), 0)]

    assert (await run("queues", "discard", str(ids[3]), **here)).stdout == "1 removed.\n"
    assert (await run("queues", "discard", str(ids[3]), **here)).exit_code == 1
    rest = await run("queues", "redrive", QUEUE, "--all", **here)
    assert rest.stdout == f"1 sent to {QUEUE} again; 1 that only tested the way were dropped.\n"
    assert [row[1] for row in await outbox(database)] == [second.to_bytes(), first.to_bytes()]
    assert await database.fetchval("SELECT count(*) FROM bus.dead_letters") == 0


async def test_what_rabbitmq_has_given_up_is_brought_to_the_others_and_handled_when_sent_again(
    database, database_url, rabbit_url
) -> None:
    seen = []

    async def handle(event) -> None:
        seen.append(event.data.slice)

    bus = Bus("processor", database_url=database_url, bus_url=rabbit_url, stop_seconds=3)
    bus.subscribe(Subscription(PROCESSOR_IMPORTS, dict.fromkeys(PROCESSOR_IMPORTS.types, handle)))
    await bus.start()
    try:
        connection = await aio_pika.connect(rabbit_url)
        async with connection:
            channel = await connection.channel()
            dead = await channel.get_exchange(DEAD_EXCHANGE)
            for body in (command(7).to_bytes(), canary().to_bytes(), b"{no event"):
                await dead.publish(aio_pika.Message(body), routing_key=QUEUE)
        here = {"PENSTOCK_DATABASE_URL": database_url, "PENSTOCK_BUS_URL": rabbit_url}
        [ours] = [
            each
            for each in json.loads((await run("queues", "list", "--json", **here)).stdout)
            if each["queue"] == QUEUE
        ]
        assert (ours["dead"], ours["consumers"], ours["in_hand"]) == (3, 1, None)
        collected = json.loads((await run("queues", "dead", QUEUE, "--json", **here)).stdout)
        assert [each["type"] for each in collected] in ([None, "slice.process"], ["slice.process", None])
        assert all(datetime.fromisoformat(each["failed_at"]) <= datetime.now(UTC) for each in collected)
        assert await database.fetchval("SELECT count(*) FROM bus.dead_letters") == 2
        [good] = [str(each["id"]) for each in collected if each["type"]]
        assert (await run("queues", "redrive", QUEUE, good, **here)).exit_code == 0
        await until(lambda: seen == [7], seconds=30)
        assert len(json.loads((await run("queues", "dead", QUEUE, "--json", **here)).stdout)) == 1
    finally:
        await bus.stop()
    away = await run(
        "queues",
        "list",
        PENSTOCK_DATABASE_URL=database_url,
        PENSTOCK_BUS_URL="amqp://guest:guest@127.0.0.1:1/",
    )
    assert (away.exit_code, "RabbitMQ does not say" in away.stderr.splitlines()[-1]) == (1, True)
    [row] = [line.split() for line in away.stdout.splitlines() if line.startswith(QUEUE)]
    assert row == [QUEUE, "-", "-", "0", "-", "1", "-"], "what PostgreSQL knows is shown"


async def test_a_broker_that_takes_connections_and_says_nothing_is_not_waited_for(database_url, monkeypatch):
    monkeypatch.setattr("shared.platform.bus.rabbit.CONNECT_SECONDS", 0.5)

    async def listen_only(reader, writer):
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(listen_only, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    asked = run(
        "queues",
        "list",
        PENSTOCK_DATABASE_URL=database_url,
        PENSTOCK_BUS_URL=f"amqp://guest:guest@127.0.0.1:{port}/",
    )
    found = await asyncio.wait_for(asked, 30)
    mute.close()
    assert (found.exit_code, found.stderr.splitlines()) == (
        1,
        ["RabbitMQ does not say what it holds (TimeoutError)"],
    )
