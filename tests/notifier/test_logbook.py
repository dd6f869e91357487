"""The logbook on a real database: orders, repetitions, quarantine, quotas, take-over, what is old."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from services.notifier.logbook.logbook import Logbook
from services.notifier.logbook.upkeep import purge, release_known
from shared.contracts.problems import Conflict, TooManyRequests
from shared.platform.database import engine_for
from tests.notifier.timelines import BOTH, PLAIN, WORDS, at, event, expected

BERLIN = ZoneInfo("Europe/Berlin")
ORDERS = 200
SHOWN = """
    SELECT f.given, f.detail, i.state, i.event_count, i.first_seen, i.last_seen, i.summary, i.severity
    FROM notifier.investigations i JOIN LATERAL (
        SELECT given, detail FROM notifier.fingerprints WHERE investigation_id = i.id LIMIT 1
    ) f ON true WHERE i.tenant = $1 AND i.event_count > 0
"""


class Books:
    def __init__(self, engine, database):
        self.engine, self.database = engine, database
        self.published = []
        self.logbook = self.with_quota(10_000)

    def with_quota(self, quota):
        async def publish(_, *told):
            self.published.extend(told)

        return Logbook(publish, BERLIN, quota=quota)

    async def log(self, *events, tenant="acme", logbook=None):
        async with self.engine.begin() as connection:
            return await (logbook or self.logbook).log(connection, tenant, events)

    async def know(self, *suppliers, tenant="acme"):
        await self.database.executemany(
            "INSERT INTO notifier.suppliers (tenant, id, name) VALUES ($1, $2, $2)",
            [(tenant, one) for one in suppliers],
        )

    async def all(self, query, *values):
        return [tuple(row) for row in await self.database.fetch(query, *values)]


@pytest.fixture
async def books(environment, database_url, database):
    engine = engine_for(database_url, "notifier", pool_size=4)
    yield Books(engine, database)
    await engine.dispose()


def some(chance, number):
    what = chance.choice([*BOTH, PLAIN, WORDS])
    severity = chance.choice(["info", "warning", "critical"])
    return event(number, what, chance.randint(1, 60), resolves=chance.random() < 0.25, severity=severity)


async def test_any_order_gives_the_same_rows(books):
    chance = Random(11)
    for order in range(ORDERS):
        tenant = f"t{order}"
        await books.know("acme", tenant=tenant)
        events = [some(chance, number) for number in range(chance.randint(1, 9))]
        heard = chance.sample(events, len(events)) + chance.sample(events, len(events) // 3)
        async with books.engine.begin() as connection:
            while heard:
                number = chance.randint(1, 4)
                await books.logbook.log(connection, tenant, heard[:number])
                del heard[:number]
        rows = await books.all(SHOWN, tenant)
        found = {"both" if given else "words" if detail else "plain": rest for given, detail, *rest in rows}
        assert {name: tuple(rest) for name, rest in found.items()} == expected(events)
    wrong = await books.all("""
        SELECT tenant, id FROM notifier.fingerprints f WHERE event_count <> (
            SELECT count(*) FROM notifier.investigation_events e WHERE e.fingerprint_id = f.id AND NOT resolves
        ) OR event_count <> (
            SELECT coalesce(sum(events), 0) FROM notifier.event_days d WHERE d.fingerprint_id = f.id
        )
    """)
    assert wrong == []
    wrong = await books.all("""
        SELECT FROM notifier.event_days d WHERE (events, last_occurred_at) <> (
            SELECT count(*), max(occurred_at) FROM notifier.investigation_events e
            WHERE e.fingerprint_id = d.fingerprint_id AND NOT resolves
                AND (occurred_at AT TIME ZONE 'Europe/Berlin')::date = d.day
        )
    """)
    assert wrong == []


async def test_one_bad_event_never_harms_another(books):
    await books.know("acme")
    good, other = event(1, WORDS, 1), event(2, WORDS, 2)
    first, again, conflict, second = await books.log(good, good, replace(good, digest=b"another"), other)
    assert [first.outcome, again.outcome, second.outcome] == ["created", "duplicate", "grouped"]
    assert again.investigation_id == second.investigation_id
    assert second.count == 2
    assert isinstance(conflict, Conflict)
    later, without = await books.log(good, replace(other, digest=None))
    assert (later.outcome, later.count) == ("duplicate", 2)
    assert isinstance(without, Conflict)


async def test_an_unknown_supplier_waits_and_is_released(books):
    number = 1003  # more than are released at once
    events = [replace(event(1, WORDS, 1), event_id=f"e{place}") for place in range(number)]
    held = [*(await books.log(*events[:600])), *(await books.log(*events[600:]))]
    assert {(one.outcome, one.investigation_id) for one in held} == {("quarantined", None)}
    [again, conflict] = await books.log(events[0], replace(events[1], digest=b"another"))
    assert again == held[0]
    assert isinstance(conflict, Conflict)
    assert await release_known(books.engine, books.logbook) == 0

    await books.know("acme")
    async with books.engine.begin() as connection:
        released = await books.logbook.release(connection, "acme", ["acme", "nobody"])
    assert released == 1000
    # Whoever released them died here; what is left is found.
    assert await release_known(books.engine, books.logbook) == 3
    assert await books.all("SELECT count(*) FROM notifier.quarantined_events") == [(0,)]
    assert await books.all("SELECT event_count, state FROM notifier.investigations") == [(number, "open")]
    [duplicate] = await books.log(events[5])
    assert (duplicate.outcome, duplicate.count) == ("duplicate", number)
    assert [told.type for told in books.published] == ["investigation.opened"]


async def test_what_cannot_be_released_keeps_nobody_else_waiting(books):
    for tenant in ("broken", "fine"):
        await books.log(event(1, WORDS, 1), tenant=tenant)
        await books.know("acme", tenant=tenant)

    async def publish(_, *events):
        if events[0].tenant == "broken":
            raise RuntimeError("no room")

    assert await release_known(books.engine, Logbook(publish, BERLIN, quota=1)) == 1
    assert await books.all("SELECT tenant FROM notifier.quarantined_events") == [("broken",)]
    assert await release_known(books.engine, books.logbook) == 1


async def test_what_waited_comes_out_as_it_was(books):
    file = {"path": "/in/a.csv", "rows": 3}
    sent = replace(event(1, BOTH[0], 1), file=file, extra={"ä": [1, None]})
    await books.log(sent, event(2, BOTH[0], 2, resolves=True))
    waited = await books.all("SELECT received_at FROM notifier.quarantined_events")
    await books.know("acme")
    await release_known(books.engine, books.logbook)
    rows = await books.all("""
        SELECT e.event_id, e.occurred_at, e.summary, e.severity, e.origin, e.file, e.extra, e.digest, f.given, e.resolves
        FROM notifier.investigation_events e JOIN notifier.fingerprints f ON f.id = e.fingerprint_id ORDER BY 1
    """)
    assert rows[0] == (
        *("e1", at(1), "1 is broken", "error", "api"),
        *('{"path": "/in/a.csv", "rows": 3}', '{"ä": [1, null]}', bytes([1]), "g", False),
    )
    assert rows[1][-1] is True
    assert await books.all("SELECT received_at FROM notifier.investigation_events") == waited
    assert await books.all("SELECT status, path FROM notifier.supplier_files") == [("failed", "/in/a.csv")]


async def test_quotas_are_of_each_source(books):
    await books.know("acme", "other")
    tight = books.with_quota(2)
    nobody = [replace(event(number, WORDS, 1), supplier=f"u{number}") for number in range(3)]
    stage = replace(event(9, WORDS, 1), supplier=None)
    answers = await books.log(
        *[event(number, WORDS, 1) for number in (3, 4, 3, 5)],
        *nobody,
        replace(event(6, WORDS, 1), supplier="other"),
        stage,
        replace(event(7, WORDS, 1), origin="import"),
        logbook=tight,
    )
    refused = [place for place, one in enumerate(answers) if isinstance(one, TooManyRequests)]
    assert refused == [3, 6]
    assert 1 <= answers[3].retry_after <= 60
    [repeated, new] = await books.log(event(3, WORDS, 1), event(5, WORDS, 1), logbook=tight)
    assert (repeated.outcome, new.code) == ("duplicate", "quota_exceeded")
    await books.database.execute("UPDATE notifier.event_quotas SET minute = minute - interval '1 minute'")
    [next_minute] = await books.log(event(5, WORDS, 1), logbook=tight)
    assert next_minute.outcome == "grouped"


async def test_an_event_takes_the_place_of_the_backfilled_one(books):
    await books.know("acme")
    await books.database.execute(
        "INSERT INTO notifier.backfill_watermarks (tenant, source) VALUES ('acme', 'errors')"
    )
    second = timedelta(seconds=1)
    old = [
        replace(
            event(number, WORDS, 1), origin="clickhouse", stage="consolidate", digest=None, occurred_at=moment
        )
        for number, moment in enumerate([at(1), at(1) + second / 2, at(30)], start=1)
    ]
    await books.log(*old)
    # The nearest one, and each only once: the third of the same moment is new.
    same = [replace(event(number, WORDS, 1), occurred_at=at(1) + second * 0.6) for number in (11, 12, 13)]
    answers = await books.log(*same, replace(event(14, WORDS, 1), occurred_at=at(1), reason="other"))
    assert [one.outcome for one in answers] == ["created", "grouped", "grouped", "created"]
    assert await books.all("SELECT event_id FROM notifier.investigation_events ORDER BY 1") == [
        *(("e11",), ("e12",), ("e13",), ("e14",), ("e3",))
    ]
    counts = """
        SELECT f.stage, f.reason, f.event_count, f.first_seen, f.first_event_id, f.last_triggered, i.event_count,
            (SELECT sum(events) FROM notifier.event_days d WHERE d.fingerprint_id = f.id)
        FROM notifier.fingerprints f JOIN notifier.investigations i ON i.id = f.investigation_id ORDER BY 1, 2
    """
    left, here, _ = await books.all(counts)
    assert left == ("consolidate", "file_read", 1, at(30), "e3", at(30), 1, 1)
    assert here[2:3] + here[6:] == (3, 3, 3)

    await books.log(replace(event(15, WORDS, 30), occurred_at=at(30) - second))
    left, *_ = await books.all(counts)
    assert left == ("consolidate", "file_read", 0, None, None, None, 0, None)
    assert [told.type for told in books.published][-1] == "investigation.resolved"
    gone = "SELECT state FROM notifier.investigations WHERE stage = 'consolidate'"
    assert await books.all(gone) == [("resolved",)]


async def test_what_takes_a_place_in_its_own_investigation_is_no_news(books):
    await books.know("acme")
    await books.database.execute(
        "INSERT INTO notifier.backfill_watermarks (tenant, source) VALUES ('acme', 'errors')"
    )
    shown = "SELECT state, event_count, events_since_muted, opened_at FROM notifier.investigations"
    await books.log(replace(event(1, WORDS, 5), origin="clickhouse", digest=None))
    [opened] = await books.all(shown)
    [same] = await books.log(event(2, WORDS, 5))
    assert (same.outcome, same.count) == ("grouped", 1)
    assert await books.all(shown) == [opened]

    await books.database.execute(
        "UPDATE notifier.investigations SET state = 'muted', muted_at = $1, muted_events = 2", at(6)
    )
    await books.log(replace(event(3, WORDS, 7), origin="clickhouse", digest=None))
    await books.log(event(4, WORDS, 7))
    assert [row[:3] for row in await books.all(shown)] == [("muted", 2, 1)]
    assert [told.type for told in books.published] == ["investigation.opened"]
    assert await books.all("SELECT what FROM notifier.investigation_history") == [("opened",)]


async def test_a_resolution_of_a_kind_ends_all_of_it(books):
    await books.know("acme")
    latest, *_ = await books.log(
        event(1, WORDS, 3), event(2, BOTH[0], 2), event(3, PLAIN, 1), event(4, BOTH[1], 2)
    )
    whole = event(5, PLAIN, 4, resolves=True)
    [resolved], [again] = await books.log(whole), await books.log(whole)
    assert (resolved.outcome, again.outcome) == ("grouped", "duplicate")
    assert resolved.investigation_id == again.investigation_id == latest.investigation_id
    rows = await books.all("SELECT stage, state FROM notifier.investigations ORDER BY summary")
    assert rows == [("load_mail", "open"), ("load_mail", "resolved"), ("load_mail", "resolved")]
    await books.log(event(6, BOTH[1], 5, resolves=True))
    assert {state for _, state in await books.all("SELECT id, state FROM notifier.investigations")} == {
        "resolved"
    }
    history = await books.all("SELECT what, event_id FROM notifier.investigation_history ORDER BY id")
    assert sorted(history) == [
        *(("opened", "e1"), ("opened", "e2"), ("opened", "e3")),
        *(("resolved", "e5"), ("resolved", "e5"), ("resolved", "e6")),
    ]


async def test_unknown_reasons_are_registered(books):
    await books.know("acme")
    await books.log(replace(event(1, WORDS, 5), reason="odd"), event(2, WORDS, 5))
    await books.log(replace(event(3, WORDS, 2), reason="odd", stage="s"))
    rows = await books.all("SELECT code, reviewed, first_seen FROM notifier.reasons")
    assert rows == [("odd", False, at(2))]


async def test_what_is_old_goes_and_still_counts(books):
    await books.know("acme")
    now = datetime.now(UTC)
    await books.log(
        *[replace(event(number, WORDS, 1), received_at=now - timedelta(days=31)) for number in range(5)]
    )
    await books.log(replace(event(9, WORDS, 1), received_at=now - timedelta(days=29)))
    assert await purge(books.engine, 30) == 5
    assert await books.all("SELECT event_count FROM notifier.fingerprints") == [(6,)]
    assert await books.all("SELECT sum(events) FROM notifier.event_days") == [(6,)]
    assert await purge(books.engine, 30) == 0
