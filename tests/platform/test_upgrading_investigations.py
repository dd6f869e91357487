"""Investigations of the version before, taken over by the migrations."""

import dataclasses
import shutil
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from penstock.registry import MIGRATIONS
from services.notifier.logbook.logbook import Logbook
from shared.platform.bus import Bus
from shared.platform.database import engine_for, migrate_async
from tests.notifier.timelines import PLAIN, WORDS, event

LAST = "notifier_0003"
UTC = ZoneInfo("UTC")


@pytest.fixture
async def database_of_before(empty_database, tmp_path):
    def of_before(migrations):
        if migrations.service != "notifier":
            return migrations
        for path in migrations.versions.glob("notifier_*.py"):
            if path.stem <= LAST:
                shutil.copy(path, tmp_path)
        return dataclasses.replace(migrations, versions=tmp_path)

    await migrate_async(empty_database, [of_before(migrations) for migrations in MIGRATIONS])
    connection = await asyncpg.connect(empty_database)
    yield empty_database, connection
    await connection.close()


async def log_as_before(connection, *events):
    """As the version before did: one fingerprint and investigation for each kind."""
    for one in events:
        investigation = await connection.fetchval(
            "SELECT investigation_id FROM notifier.fingerprints WHERE tenant = 'acme' AND fingerprint = $1",
            one.fingerprint,
        )
        kind = (one.supplier, one.stage, one.reason, one.severity)
        if investigation is None:
            investigation = await connection.fetchval(
                "INSERT INTO notifier.investigations"
                " (tenant, supplier, stage, reason, severity, summary, event_count, first_seen, last_seen)"
                " VALUES ('acme', $1, $2, $3, $4, $5, 1, $6, $6) RETURNING id",
                *kind,
                one.summary or "nothing said",
                one.occurred_at,
            )
            await connection.execute(
                "INSERT INTO notifier.fingerprints VALUES ('acme', $1, $2)", one.fingerprint, investigation
            )
        else:
            await connection.execute(
                "UPDATE notifier.investigations SET event_count = event_count + 1, first_seen = least(first_seen, $2),"
                " last_seen = greatest(last_seen, $2) WHERE id = $1",
                investigation,
                one.occurred_at,
            )
        await connection.execute(
            "INSERT INTO notifier.investigation_events"
            " (tenant, event_id, fingerprint, digest, occurred_at, supplier, stage, reason, severity, summary)"
            " VALUES ('acme', $1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *(one.event_id, one.fingerprint, one.digest * 32, one.occurred_at),
            *kind,
            one.summary,
        )


async def test_what_was_logged_goes_on_as_if_it_had_been_logged_now(database_of_before):
    url, connection = database_of_before
    words, plain = [event(1, WORDS, 5), event(2, WORDS, 30)], event(3, PLAIN, 4)
    await log_as_before(connection, *words, plain)

    await migrate_async(url, MIGRATIONS)

    engine = engine_for(url, "notifier", pool_size=1)
    logbook = Logbook(Bus("notifier", database_url=url).publish, UTC, quota=100)
    again = [dataclasses.replace(one, digest=one.digest * 16) for one in (words[0], plain)]
    async with engine.begin() as transaction:
        repeated, other, more, over = await logbook.log(
            transaction, "acme", [*again, event(4, WORDS, 6), event(5, WORDS, 40, resolves=True)]
        )
    await engine.dispose()
    assert [one.outcome for one in (repeated, other, more, over)] == [*["duplicate"] * 2, *["grouped"] * 2]
    assert len({one.investigation_id for one in (repeated, more, over)}) == 1
    rows = await connection.fetch(
        "SELECT summary, state, event_count, first_seen, last_seen FROM notifier.investigations ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        (WORDS[3], "resolved", 3, words[0].occurred_at, words[1].occurred_at),
        ("nothing said", "open", 1, plain.occurred_at, plain.occurred_at),
    ]
    days = "SELECT day, sum(events) FROM notifier.event_days GROUP BY 1 ORDER BY 1"
    counts = {f"{row[0]}": row[1] for row in await connection.fetch(days)}
    assert counts == {"2026-03-01": 3, "2026-03-02": 1}
