"""Errors, suppliers and prices of a real ClickHouse engine, taken over by its HTTP interface."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.notifier.backfill import errors
from services.notifier.backfill.backfilling import backfill, backfill_job
from services.notifier.backfill.settings import ClickHouseSettings
from services.notifier.backfill.source import ClickHouseFailed
from services.notifier.backfill.sources import SourceTable
from services.notifier.backfill.suppliers import Suppliers
from services.notifier.investigations.grouping import Action, Reported
from services.notifier.investigations.locking import lock
from services.notifier.logbook.logbook import Logbook
from services.notifier.suppliers.known import make_known
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from tests.notifier.clickhouse import ClickHouse
from tests.notifier.conftest import nobody_hears

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    clickhouse = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    clickhouse.run(
        "CREATE TABLE error_list (id UInt32, error_text String) ENGINE = MergeTree ORDER BY id",
        "INSERT INTO error_list VALUES (1, 'Price deviation error'), (2, 'Line was odd')",
    )
    yield clickhouse
    clickhouse.kill()


@dataclass
class Rig:
    """A tenant whose errors are in a ClickHouse table of its own."""

    server: ClickHouse
    engine: Any
    logbook: Logbook
    sources: Any
    tenant: str = "acme"
    zone: ZoneInfo = BERLIN
    retention: timedelta = timedelta(days=36_500)

    @property
    def table(self) -> str:
        return str(self.sources.errors)

    def create(self, time: str = "DateTime64(3)") -> None:
        columns = f"(dt {time}, supid UInt32, error_id UInt32)"
        self.server.run(f"CREATE TABLE {self.table} {columns} ENGINE = MergeTree ORDER BY dt")

    def insert(self, *rows: tuple[datetime, int, int]) -> None:
        values = ", ".join(f"('{at:%Y-%m-%d %H:%M:%S.%f}', {who}, {what})" for at, who, what in rows)
        if rows:
            self.server.run(f"INSERT INTO {self.table} VALUES {values}")

    async def run(self, day: date = DAY) -> dict[str, Any]:
        result = await backfill(
            *(self.engine, self.logbook, self.sources, self.tenant, day),
            zone=self.zone,
            retention=self.retention,
        )
        return dict(result)

    async def errors(self, day: date = DAY) -> dict[str, Any]:
        """What became of errors."""
        counts = (await self.run(day))["errors"]
        del counts["seconds"]
        return {name: number for name, number in counts.items() if number}

    async def report(self, *events: tuple[datetime, int, str], action: Action = "trigger") -> None:
        """Errors that a pipeline logs by API, or their ends."""
        reported = [
            Reported(
                event_id=f"event-{next(numbers)}",
                occurred_at=at,
                supplier=str(who),
                stage="load_mail",
                reason=reason,
                severity="error",
                summary=None,
                detail="",
                digest=b"",
                origin="api",
                action=action,
            )
            for at, who, reason in events
        ]
        async with self.engine.begin() as connection:
            await self.logbook.log(connection, self.tenant, reported)

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            found = await connection.execute(text(sql), {"tenant": self.tenant})
            return [tuple(row) for row in found]

    async def events(self) -> list[tuple[Any, ...]]:
        """All that are kept: when, of whom, why, and from where."""
        return await self.query("""
            SELECT e.occurred_at, f.supplier, f.reason, e.origin FROM notifier.investigation_events e
            JOIN notifier.fingerprints f ON f.id = e.fingerprint_id WHERE e.tenant = :tenant
            ORDER BY e.occurred_at, f.supplier, f.reason, e.origin
        """)

    async def counted(self) -> list[tuple[Any, ...]]:
        """What every place says where events are counted, which is the same."""
        return await self.query("""
            SELECT (SELECT count(*) FROM notifier.investigation_events WHERE tenant = :tenant AND NOT resolves),
                (SELECT coalesce(sum(event_count), 0) FROM notifier.fingerprints WHERE tenant = :tenant),
                (SELECT coalesce(sum(event_count), 0) FROM notifier.investigations WHERE tenant = :tenant),
                (SELECT coalesce(sum(events), 0) FROM notifier.event_days WHERE tenant = :tenant)
        """)


@pytest.fixture
async def rig(server: ClickHouse, database_url: str):
    async with rigged(server, database_url) as one:
        one.create()
        yield one


@asynccontextmanager
async def rigged(server: ClickHouse, database_url: str, **values: Any):
    engine = engine_for(database_url, "notifier", pool_size=2)
    bus = Bus("notifier", database_url=database_url)
    logbook = Logbook(bus.publish, BERLIN, quota=1_000_000)
    table = f"dif_errors_{next(numbers)}(dt, supid, error_id)"
    read = ClickHouseSettings(
        clickhouse_url=server.url,
        clickhouse_tenant="acme",
        **{"clickhouse_errors_table": table, "clickhouse_overlap_hours": 1} | values,
    )
    yield Rig(server, engine, logbook, read.clickhouse)
    await engine.dispose()


async def test_errors_become_events_once(rig: Rig):
    late = AT - timedelta(minutes=30)
    rig.insert(
        (AT, 7, 1), (AT, 7, 1), (AT - timedelta(days=3), 8, 2), (AT + timedelta(microseconds=1000), 7, 3)
    )

    assert await rig.errors() == {"read": 4, "added": 4}
    assert await rig.events() == [
        (AT - timedelta(days=3), "8", "Line was odd", "clickhouse"),
        (AT, "7", "price_deviation", "clickhouse"),
        (AT, "7", "price_deviation", "clickhouse"),
        (AT + timedelta(microseconds=1000), "7", "3", "clickhouse"),
    ]
    assert await rig.query("SELECT id, added_by FROM notifier.suppliers ORDER BY id") == [
        ("7", "clickhouse"),
        ("8", "clickhouse"),
    ]
    # Again: no more than the overlap, and what came late.
    assert await rig.errors() == {"read": 3, "already_there": 3}
    rig.insert((late, 9, 1), (AT, 7, 1))
    assert await rig.errors() == {"read": 5, "already_there": 3, "added": 2}
    # By hand, a day before that.
    rig.insert((AT - timedelta(days=3), 8, 2))
    assert await rig.errors(date(2026, 2, 27)) == {"read": 7, "already_there": 6, "added": 1}
    assert await rig.counted() == [(7, 7, 7, 7)]
    assert await rig.query("SELECT source, watermark, events_added FROM notifier.backfill_watermarks") == [
        ("errors", AT + timedelta(microseconds=1000), 7)
    ]


async def test_what_was_kept_for_long_enough_does_not_count_again(rig: Rig):
    before = AT - timedelta(days=3)
    rig.insert((before, 7, 1), (AT - timedelta(minutes=30), 7, 1), (AT, 7, 2))
    assert await rig.errors() == {"read": 3, "added": 3}
    async with rig.engine.begin() as connection:
        forget = text("DELETE FROM notifier.investigation_events WHERE occurred_at < :at")
        await connection.execute(forget, {"at": AT})

    one = replace(rig, retention=timedelta(days=30))
    assert await one.errors(before.date()) == {"read": 1, "already_there": 1}
    assert await rig.query("SELECT sum(event_count) FROM notifier.investigations") == [(3,)]


@pytest.mark.parametrize(
    ("kind", "zone", "occurred_at"),
    [
        ("DateTime", "", datetime(2026, 7, 2, 12, tzinfo=UTC)),
        ("DateTime", "America/New_York", datetime(2026, 7, 2, 16, tzinfo=UTC)),
        ("DateTime64(6, 'Asia/Kolkata')", "America/New_York", datetime(2026, 7, 2, 6, 30, tzinfo=UTC)),
        ("Nullable(DateTime64(3))", "", datetime(2026, 7, 2, 12, tzinfo=UTC)),
        ("Date", "", datetime(2026, 7, 2, tzinfo=BERLIN)),
        ("Date32", "America/New_York", datetime(2026, 7, 2, 4, tzinfo=UTC)),
    ],
)
async def test_whatever_a_time_is_it_is_an_instant(server, database_url, kind, zone, occurred_at):
    written = "2026-07-02" if kind in {"Date", "Date32"} else "2026-07-02 12:00:00"
    async with rigged(server, database_url, clickhouse_timezone=zone) as rig:
        server.run(
            f"CREATE TABLE {rig.table} (dt {kind}, supid Nullable(String), error_id Nullable(UInt8)) ENGINE = Memory",
            f"INSERT INTO {rig.table} VALUES ('{written}', 'Müller\\0 ', NULL), ('{written}', NULL, 1)",
        )
        assert await rig.errors() == {"read": 2, "added": 2}
        assert await rig.errors() == {"read": 2, "already_there": 2}
        assert await rig.events() == [
            (occurred_at, "Müller", "unexpected", "clickhouse"),
            (occurred_at, None, "price_deviation", "clickhouse"),
        ]


async def test_what_a_pipeline_has_reported_too_is_one(rig: Rig):
    second = timedelta(seconds=1)
    rig.insert(
        (AT, 7, 1), (AT, 7, 1), (AT + 5 * second, 7, 1), (AT + 9 * second, 7, 2), (AT + 20 * second, 7, 1)
    )
    await rig.report(
        (AT + second, 7, "price_deviation"),
        (AT + 4 * second, 7, "price_deviation"),
        (AT + 9 * second, 7, "price_deviation"),  # another reason
        (AT + 18.9 * second, 7, "price_deviation"),
    )  # in quarantine until the supplier is known

    assert await rig.errors() == {"read": 5, "matched": 2, "added": 3}
    await rig.report((AT + 20.5 * second, 7, "price_deviation"))  # takes the place of what was taken over
    assert await rig.errors() == {"read": 5, "matched": 3, "already_there": 2}

    assert [(at - AT, reason, origin) for at, _, reason, origin in await rig.events()] == [
        (0 * second, "price_deviation", "clickhouse"),
        (second, "price_deviation", "api"),
        (4 * second, "price_deviation", "api"),
        (9 * second, "Line was odd", "clickhouse"),
        (9 * second, "price_deviation", "api"),
        (18.9 * second, "price_deviation", "api"),
        (20.5 * second, "price_deviation", "api"),
    ]
    assert await rig.counted() == [(7, 7, 7, 7)]


async def test_that_an_error_is_over_is_not_the_error(rig: Rig):
    rig.insert((AT, 7, 1))
    async with rig.engine.begin() as connection:
        await make_known(connection, rig.tenant, {"7": "Seven"}, "api")
    await rig.report((AT, 7, "price_deviation"), action="resolve")

    assert await rig.errors() == {"read": 1, "added": 1}


# Moments far apart; at each, rows and events that are all within a second of each other.
moments = st.lists(
    st.tuples(st.lists(st.integers(0, 2), max_size=3), st.lists(st.integers(0, 2), max_size=3)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=10)
@given(moments, st.randoms(use_true_random=False))
async def test_in_any_order_it_comes_to_the_same(rig: Rig, monkeypatch, drawn, random):
    """Events by API, rows that come late, and runs, interleaved; batches that cut through what belongs together."""
    monkeypatch.setattr(errors, "BATCH", 2)
    monkeypatch.setattr(errors, "CHUNK", 3)
    number = next(numbers)
    table = SourceTable(None, f"any_order_{number}", ("dt", "supid", "error_id"))
    one = replace(rig, tenant=f"tenant-{number}", sources=replace(rig.sources, errors=table))
    one.create()
    async with one.engine.begin() as connection:
        await make_known(connection, one.tenant, {"7": "Seven"}, "api")
    steps: list[Callable[[], Awaitable[None]]] = [one.errors, one.errors]
    times = [AT + timedelta(seconds=10 * moment) for moment in range(len(drawn))]
    half = timedelta(seconds=0.5)
    for at, (rows, events) in zip(times, drawn, strict=True):
        steps += [partial(insert, one, (at + step * half, 7, 1)) for step in rows]
        steps += [partial(one.report, (at + step * half, 7, "price_deviation")) for step in events]
    random.shuffle(steps)
    for step in steps:
        await step()

    await one.errors()
    after = await one.events()
    for at, (rows, events) in zip(times, drawn, strict=True):
        origins = [origin for moment, _, _, origin in after if at <= moment <= at + 2 * half]
        assert origins.count("api") == len(events)
        assert len(origins) == max(len(rows), len(events))
    assert not {"added", "refused"} & (await one.errors()).keys()
    assert await one.events() == after
    assert await one.counted() == [(len(after),) * 4]


async def insert(rig: Rig, *rows: tuple[datetime, int, int]) -> None:
    rig.insert(*rows)


async def test_a_server_that_breaks_off_or_is_away_fails_the_run_and_the_next_one_goes_on(
    rig: Rig, monkeypatch
):
    monkeypatch.setattr(errors, "CHUNK", 3_000)
    rows = 20_000
    rig.server.run(
        f"INSERT INTO {rig.table} SELECT toDateTime64('2026-03-02 00:00:00', 3) + number, number % 5, 1 FROM numbers({rows})"
    )
    rig.server.stall_after(10_000)
    running = asyncio.create_task(rig.run(date(2026, 3, 10)))
    while not (committed := (await rig.counted())[0][0]):
        await asyncio.sleep(0.02)
    rig.server.kill()
    try:
        with pytest.raises(ClickHouseFailed) as broken:
            await running
        with pytest.raises(ClickHouseFailed) as away:
            await rig.run()
    finally:
        await asyncio.to_thread(rig.server.start)
    for error in (broken, away):
        assert str(error.value).startswith("ClickHouse at 127.0.0.1:")
        assert rig.server.password not in str(error.value)

    counts = await rig.errors(date(2026, 3, 10))
    assert 0 < committed < rows
    assert counts["already_there"] < 3_000 + 3_600  # the overlap is an hour
    assert await rig.counted() == [(rows,) * 4]
    wrong = replace(rig.sources, address=replace(rig.sources.address, password="wrong"))
    with pytest.raises(ClickHouseFailed, match=r"Authentication failed: password is incorrect"):
        await replace(rig, sources=wrong).run()


class Breaking(Logbook):
    """Logs two batches."""

    left = 2

    async def log(self, connection, tenant, reported):
        if not self.left:
            raise ConnectionResetError
        self.left -= 1
        return await super().log(connection, tenant, reported)


async def test_what_a_run_has_added_before_it_failed_is_not_added_again(rig: Rig, monkeypatch):
    monkeypatch.setattr(errors, "BATCH", 2)
    rig.insert(*((AT + timedelta(seconds=5 * number), 7, 1) for number in range(6)))
    breaking = Breaking(nobody_hears, BERLIN, quota=1_000_000)
    with pytest.raises(ConnectionResetError):
        await replace(rig, logbook=breaking).run()
    assert await rig.counted() == [(4,) * 4]

    assert await rig.errors() == {"read": 6, "already_there": 4, "added": 2}
    assert await rig.counted() == [(6,) * 4]
    assert await rig.query(
        "SELECT events_added FROM notifier.backfill_watermarks WHERE source = 'errors'"
    ) == [(6,)]


async def test_suppliers_have_the_names_of_the_list(rig: Rig):
    rig.server.run(
        "CREATE TABLE names (supid UInt32, name String) ENGINE = Memory",
        "INSERT INTO names VALUES (7, 'Müller & Söhne'), (8, 'Acht'), (9, '')",
    )
    async with rig.engine.begin() as connection:
        await make_known(connection, rig.tenant, {"8": "Eight"}, "api")
    await rig.report((AT, 7, "late"), (AT, 9, "late"))
    rig.insert((AT, 10, 1))

    one = replace(rig, sources=replace(rig.sources, suppliers=SourceTable(None, "names", ("supid", "name"))))
    first = await one.run()
    assert {name: first["suppliers"][name] for name in ("read", "added", "renamed")} == {
        "read": 3,
        "added": 2,
        "renamed": 0,
    }
    assert await rig.counted() == [(3,) * 4]  # what was in quarantine too
    rig.server.run("INSERT INTO names VALUES (10, 'Zehn')")
    assert (await one.run())["suppliers"]["renamed"] == 1
    assert await rig.query("SELECT id, name FROM notifier.suppliers ORDER BY id") == [
        ("10", "Zehn"),
        ("7", "Müller & Söhne"),
        ("8", "Eight"),  # as somebody named it
        ("9", "9"),
    ]


async def test_names_are_taken_over_while_somebody_else_lists_suppliers(rig: Rig, eventually):
    """Who does that holds their rows, and then waits for the investigations."""
    known = Suppliers(rig.engine, rig.logbook, rig.tenant)
    await known.take_over({"7": "7", "8": "8"})
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with rig.engine.begin() as listing:
        await listing.execute(text("UPDATE notifier.suppliers SET partner = 'P' WHERE id = '8'"))
        taking = asyncio.create_task(known.take_over({"8": "Acht", "9": "Neun"}))
        await eventually(waits, gives=1)
        await lock(listing, rig.tenant)

    assert await taking == {"read": 2, "added": 1, "renamed": 1}


async def test_the_prices_of_a_day_are_a_file(rig: Rig):
    rig.server.run(
        "CREATE TABLE prices (dt DateTime, supid String, price Nullable(Decimal(9, 2))) ENGINE = MergeTree ORDER BY dt",
        """INSERT INTO prices VALUES ('2026-03-01 23:30:00', '7', 4), ('2026-03-02 08:00:00', '7', 9),
            ('2026-03-02 09:00:00', '7', -1), ('2026-03-02 10:00:00', '7', NULL), ('2026-03-02 10:00:00', '', 1),
            ('2026-02-01 10:00:00', '8', 0)""",
    )
    prices = SourceTable(None, "prices", ("dt", "supid", "price"))
    one = replace(rig, sources=replace(rig.sources, prices=prices))
    query = """
        SELECT id, supplier, day, occurred_at, origin, status, rows, profile -> 'price' -> 'values',
            profile -> 'price' -> 'empty', profile -> 'price' -> 'negatives', profile -> 'price' -> 'typical'
        FROM notifier.supplier_files ORDER BY id
    """
    seven = ("clickhouse:7:2026-03-02", "7", date(2026, 3, 2))
    ten = AT - timedelta(hours=2)
    eight = ("clickhouse:8:2026-02-01", "8", date(2026, 2, 1), datetime(2026, 2, 1, 10, tzinfo=UTC))

    assert (await one.run())["prices"] | {"seconds": 0} == {"read": 5, "files": 2, "seconds": 0}
    assert await one.query(query) == [
        (*seven, ten, "clickhouse", "good", 4, 3, 1, 1, pytest.approx(6)),
        (*eight, "clickhouse", "good", 1, 1, 0, 0, None),
    ]
    # More of that day; of others nothing is read.
    rig.server.run("INSERT INTO prices VALUES ('2026-03-02 11:00:00', '7', 6)")
    assert (await one.run())["prices"] | {"seconds": 0} == {"read": 5, "files": 1, "seconds": 0}
    assert (await one.query(query))[0] == (
        *(*seven, ten + timedelta(hours=1)),
        *("clickhouse", "good", 5, 4, 1, 1, pytest.approx(6)),
    )
    assert (await one.run())["prices"]["files"] == 0


async def test_what_is_not_as_settings_say_is_told_before_anything_is_done(rig: Rig):
    rig.insert((AT, 7, 1))
    assert (await rig.run())["missing"] == ["supplier_list", "daily_prices"]  # nobody named them
    for change, told in (
        ({"suppliers": SourceTable(None, "nowhere", ("supid", "name"))}, "there is no table nowhere in ClickHouse"),
        ({"reasons": SourceTable(None, "error_list", ("id", "words"))}, "has no column words; it has id, error_text"),
        ({"errors": SourceTable(None, "error_list", ("error_text", "id", "id"))}, "is String; it must be a DateTime"),
    ):  # fmt: skip
        with pytest.raises(ClickHouseFailed, match=told):
            await replace(rig, sources=replace(rig.sources, **change)).run()
    assert await rig.counted() == [(1,) * 4]


async def test_it_is_a_job_of_the_tenant_alone(rig: Rig):
    job = backfill_job(rig.engine, rig.logbook, rig.sources, rig.zone, retention=rig.retention)
    rig.insert((AT, 7, 1))

    assert (await job.run("acme", DAY))["errors"]["added"] == 1
    async with rig.engine.connect() as connection:
        assert await job.tenants(connection) == ["acme"]
