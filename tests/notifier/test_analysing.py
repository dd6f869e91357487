"""The daily analysis on a real database: what it keeps, what it tells the investigations, and what running it again does."""

import json
from asyncio import timeout
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.notifier.analyses.analysing import analyse, daily_analysis
from services.notifier.analyses.findings import FINDINGS
from services.notifier.analyses.thresholds import Thresholds
from services.notifier.investigations.grouping import Reported
from services.notifier.logbook.logbook import Logbook
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.tenancy import tenant_writing

ZONE = ZoneInfo("Europe/Berlin")
MONDAY = date(2026, 3, 2)
PRICES = {"values": 50, "empty": 0, "numbers": 50, "negatives": 0, "formatted": 50, "positives": 50}


def on(number):
    """Days after a Monday."""
    return MONDAY + timedelta(days=number)


class Rig:
    """A tenant's suppliers and files, and the analysis of any day."""

    def __init__(self, database, engine, logbook):
        self.database = database
        self.engine = engine
        self.logbook = logbook

    async def suppliers(self, *ids, enabled=True, tenant="acme"):
        await self.database.executemany(
            "INSERT INTO notifier.suppliers (tenant, id, name, enabled) VALUES ($1, $2, $2, $3)",
            [(tenant, one, enabled) for one in ids],
        )

    async def file(
        self, supplier, number, *, hour=9, name="prices.csv", typical=None, tenant="acme", **values
    ):
        """A good file of `supplier`, on the day of that number."""
        at = datetime.combine(on(number), time(hour), ZONE)
        profile = {"price": PRICES | {"typical": typical}} if typical else None
        row = {
            "tenant": tenant,
            "id": f"import:{supplier}:{number}:{hour}:{name}",
            "supplier": supplier,
            "day": on(number),
            "occurred_at": at,
            "origin": "import",
            "status": "good",
            "dataset": "products",
            "path": name,
            "rows": 100,
            "rejected": 0,
            "profile": json.dumps(profile) if profile else None,
        } | values
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.database.execute(
            f"INSERT INTO notifier.supplier_files ({', '.join(row)}) VALUES ({marks})", *row.values()
        )

    async def analyse(self, number, tenant="acme"):
        return await analyse(
            self.engine, self.logbook, tenant, on(number), thresholds=Thresholds(), zone=ZONE
        )

    async def analysis(self, supplier, number):
        return await self.database.fetchrow(
            "SELECT * FROM notifier.analyses WHERE supplier = $1 AND day = $2", supplier, on(number)
        )

    async def found(self, supplier, number):
        row = await self.analysis(supplier, number)
        return {one["finding"]: one["state"] for one in json.loads(row["findings"])}

    async def investigations(self):
        """State and count, by supplier and finding."""
        rows = await self.database.fetch("SELECT * FROM notifier.investigations WHERE stage = 'analyse'")
        return {f"{row['supplier']} {row['reason']}": (row["state"], row["event_count"]) for row in rows}


@pytest.fixture
async def rig(database, database_url):
    engine = engine_for(database_url, "notifier", pool_size=3)
    bus = Bus("notifier", database_url=database_url)
    yield Rig(database, engine, Logbook(bus.publish, ZONE, quota=1000))
    await engine.dispose()


async def test_three_suppliers_over_weeks(rig):
    await rig.suppliers("daily", "workdays", "weekly")
    await rig.suppliers("left", enabled=False)
    for number in range(35):
        await rig.file("daily", number)
        await rig.file("left", number)
        if number % 7 < 5:
            await rig.file("workdays", number)
        if number % 7 == 1:
            await rig.file("weekly", number, typical=10.0)

    friday, saturday = await rig.analyse(32), await rig.analyse(33)
    assert friday == {
        "suppliers": 3,
        "states": {"passed": 2, "no_data": 1},
        "buckets": {"consistent": 3},
        "findings": {},
        "events_logged": 0,
    }
    assert saturday["states"] == {"passed": 1, "no_data": 2}
    weekly = await rig.analysis("weekly", 33)
    assert (weekly["last_good_day"], weekly["expected_day"]) == (on(29), on(36))
    assert json.loads(weekly["cadence"])["median_gap"] == 7
    assert (await rig.analysis("workdays", 33))["expected_day"] == on(35)
    assert await rig.investigations() == {}

    # On the last days nobody sends anything but the weekly one, and that one is far dearer.
    await rig.file("weekly", 36, typical=14.0, rows=60)
    monday, tuesday = await rig.analyse(35), await rig.analyse(36)
    assert monday["findings"] == {"late": 2}
    assert tuesday["findings"] == {"late": 2, "price_deviation": 1, "row_count": 1}
    assert (await rig.analysis("weekly", 36))["state"] == "fail"
    assert await rig.investigations() == {
        "daily late": ("open", 2),
        "workdays late": ("open", 2),
        "weekly price_deviation": ("open", 1),
        "weekly row_count": ("open", 1),
    }
    [late] = json.loads((await rig.analysis("workdays", 36))["findings"])
    assert late["summary"] == "no good file since 2026-04-03; one was expected by 2026-04-06"
    assert late["evidence"][0]["days_late"] == 2

    # A day that is analysed again comes to the same, and nothing is told twice.
    again = await rig.analyse(36)
    assert again == tuesday | {"events_logged": 0}
    assert (await rig.analysis("weekly", 36))["verdicts"] == 1

    # A good day ends what was found.
    await rig.file("daily", 37)
    await rig.file("weekly", 43, typical=14.5, rows=61)
    assert (await rig.analyse(37))["events_logged"] == 2  # one of them that workdays are late still
    assert (await rig.analyse(43))["findings"] == {"late": 2}
    assert await rig.investigations() == {
        "daily late": ("reopened", 2 + 1),
        "workdays late": ("open", 4),
        "weekly price_deviation": ("resolved", 1),
        "weekly row_count": ("resolved", 1),
    }


async def test_a_file_that_comes_to_light_changes_the_verdict_of_its_day(rig):
    await rig.suppliers("daily")
    for number in range(20):
        await rig.file("daily", number)
    await rig.analyse(20)
    assert await rig.investigations() == {"daily late": ("open", 1)}

    await rig.file("daily", 20)
    assert (await rig.analyse(20))["events_logged"] == 1
    assert await rig.investigations() == {"daily late": ("resolved", 1)}
    kept = await rig.analysis("daily", 20)
    assert (kept["state"], kept["verdicts"]) == ("passed", 2)

    await rig.database.execute("DELETE FROM notifier.supplier_files WHERE day = $1", on(20))
    await rig.analyse(20)
    assert await rig.investigations() == {"daily late": ("reopened", 2)}


async def test_what_was_found_of_a_supplier_ends_when_nothing_is_expected_of_it(rig):
    await rig.suppliers("stays", "goes", "sold")
    for supplier in ("stays", "goes", "sold"):
        for number in range(20):
            await rig.file(supplier, number)
    await rig.analyse(20)
    await rig.database.execute("UPDATE notifier.suppliers SET enabled = false WHERE id = 'goes'")
    await rig.database.execute("DELETE FROM notifier.suppliers WHERE id = 'sold'")
    assert (await rig.analyse(21))["events_logged"] == 2 + 1  # the one that stays is later still
    assert await rig.investigations() == {
        "stays late": ("open", 2),
        "goes late": ("resolved", 1),
        "sold late": ("resolved", 1),
    }
    assert (await rig.analyse(21))["events_logged"] == 0


async def test_what_was_found_of_the_last_supplier_ends_too(rig):
    job = daily_analysis(rig.engine, rig.logbook, Thresholds(), ZONE)

    async def tenants():
        async with rig.engine.connect() as connection:
            return await job.tenants(connection)

    await rig.suppliers("last")
    for number in range(20):
        await rig.file("last", number)
    await rig.analyse(20)
    await rig.database.execute("DELETE FROM notifier.suppliers")
    assert await tenants() == ["acme"]
    await rig.analyse(21)
    assert await rig.investigations() == {"last late": ("resolved", 1)}
    assert await tenants() == []


async def test_what_others_log_as_an_analysis_does_is_not_for_it_to_end(rig):
    await rig.suppliers("idle", enabled=False)
    others = [
        Reported(
            event_id=f"other-{supplier}-{reason}",
            occurred_at=datetime.combine(on(0), time(12), UTC),
            supplier=supplier,
            stage="analyse",
            reason=reason,
            severity="error",
            summary=None,
            detail="",
            digest=b"",
            origin="analysis",
            given=given,
        )
        for supplier, reason, given in [
            (None, "late", "analysis:idle:late"),
            ("idle", "late", "analysis:late"),
            ("idle", "x" * 240, f"analysis:idle:{'x' * 240}"),
        ]
    ]
    async with tenant_writing(rig.engine, "acme") as connection:
        await rig.logbook.log(connection, "acme", others)
    async with timeout(10):
        assert (await rig.analyse(0))["events_logged"] == 0


async def test_days_that_are_caught_up_with_come_to_what_they_would_have_come_to(rig):
    await rig.suppliers("in time", "caught up")
    files = [number for number in range(30) if number not in (20, 21, 25)]
    for number in files:
        if number < 20:
            await rig.file("in time", number)
        await rig.file("caught up", number)
    async with tenant_writing(rig.engine, "acme") as connection:
        await connection.exec_driver_sql("UPDATE notifier.suppliers SET enabled = id = 'in time'")
    for number in range(20, 30):
        if number in files:
            await rig.file("in time", number)
        await rig.analyse(number)
    await rig.database.execute("UPDATE notifier.suppliers SET enabled = id <> 'in time'")
    # Newest first, which is the hardest: what is found of an old day has ended on a later one.
    for number in reversed(range(20, 30)):
        await rig.analyse(number)

    query = """
        SELECT day, state, bucket, cadence, findings, passed, last_good_day, expected_day
        FROM notifier.analyses WHERE supplier = $1 ORDER BY day
    """
    in_time, caught_up = [await rig.database.fetch(query, supplier) for supplier in ("in time", "caught up")]
    assert in_time == caught_up
    assert [row["state"] for row in in_time].count("fail") == 3
    assert await rig.investigations() == {
        "in time late": ("resolved", 3),
        "caught up late": ("resolved", 3),
    }


async def test_files_are_compared_with_those_of_their_kind(rig):
    await rig.suppliers("two brands")
    for number in range(15):
        await rig.file("two brands", number, name=f"in/bolts-{number}.csv", rows=1000)
        await rig.file("two brands", number, name=f"in/nuts-{number}.csv", rows=10, sha256=f"nuts {number}")
    await rig.analyse(14)
    assert await rig.found("two brands", 14) == {}

    # One that was sent by mistake and put right on the same day is no longer judged; but it was sent before.
    await rig.file("two brands", 15, name="in/nuts-15.csv", rows=900, sha256="nuts 3")
    await rig.file("two brands", 15, name="in/nuts-16.csv", hour=11, rows=10, sha256="nuts 15")
    await rig.file("two brands", 15, name="in/bolts-15.csv", rows=100, status="failed")
    await rig.file("two brands", 15, name="in/bolts-16.csv", rows=1000, header=json.dumps(["sku"]))
    await rig.file("two brands", 15, name="dry.csv", rows=5, status="uncounted")
    await rig.analyse(15)
    assert await rig.found("two brands", 15) == {"duplicate_file": "warn", "failed_file": "warn"}
    findings = json.loads((await rig.analysis("two brands", 15))["findings"])
    duplicate = next(one for one in findings if one["finding"] == "duplicate_file")
    assert duplicate["summary"] == "nuts-15.csv has the same content as nuts-3.csv of 2026-03-05"
    # Its failure has been reported by whoever saw it; the analysis adds none.
    assert await rig.investigations() == {"two brands duplicate_file": ("open", 1)}


async def test_what_is_in_a_file_that_failed_tells_why_unless_it_was_put_right(rig):
    await rig.suppliers("acme")
    keys = {"values": 0, "empty": 50, "numbers": 0, "negatives": 0, "formatted": 0, "positives": 0}
    lost = {"status": "failed", "rejected": 100, "profile": json.dumps({"sku": keys | {"typical": None}})}
    for number in range(14):
        await rig.file("acme", number)
    await rig.file("acme", 14, **lost)
    await rig.analyse(14)
    assert await rig.found("acme", 14) == dict.fromkeys(
        ("late", "failed_file", "reject_rate", "missing_values"), "fail"
    )

    await rig.file("acme", 14, hour=10)
    await rig.file("acme", 15)
    await rig.file("acme", 15, hour=10, **lost)
    for number in (14, 15):
        await rig.analyse(number)
    assert await rig.found("acme", 14) == {"failed_file": "warn"}
    assert await rig.found("acme", 15) == {
        "failed_file": "warn",
        "reject_rate": "fail",
        "missing_values": "fail",
    }
    states = {finding: state for finding, (state, _) in (await rig.investigations()).items()}
    assert states == {
        "acme late": "resolved",
        "acme reject_rate": "reopened",
        "acme missing_values": "open",
    }


async def test_a_new_reason_is_found_once_and_none_of_the_analysis_itself(rig):
    await rig.suppliers("acme", "other")

    async def report(supplier, number, reason, stage="load_mail"):
        at = datetime.combine(on(number), time(12), ZONE)
        event = Reported(
            event_id=f"{supplier}{number}{reason}",
            occurred_at=at,
            supplier=supplier,
            stage=stage,
            reason=reason,
            severity="error",
            summary=None,
            detail="",
            digest=None,
            origin="import",
        )
        async with tenant_writing(rig.engine, "acme") as connection:
            await rig.logbook.log(connection, "acme", [event])

    await report("acme", 1, "file_read")
    await report("acme", 3, "file_read", stage="load_ftp")
    await report("acme", 3, "file_format")
    await report("other", 2, "file_format")
    for number in (3, 4):
        await rig.analyse(number)
    assert await rig.found("acme", 3) == {"new_reason": "warn"}
    [found] = json.loads((await rig.analysis("acme", 3))["findings"])
    assert [piece["reason"] for piece in found["evidence"]] == ["file_format"]
    assert await rig.found("other", 3) == {}
    assert await rig.found("acme", 4) == {}
    assert await rig.investigations() == {"acme new_reason": ("resolved", 1)}


async def test_each_tenant_with_enabled_suppliers_has_the_job(rig):
    await rig.suppliers("one", tenant="acme")
    await rig.suppliers("one", tenant="other")
    await rig.suppliers("one", enabled=False, tenant="idle")
    job = daily_analysis(rig.engine, rig.logbook, Thresholds(), ZONE)
    async with rig.engine.connect() as connection:
        assert await job.tenants(connection) == ["acme", "other"]
    assert (await job.run("idle", MONDAY))["suppliers"] == 0
    assert (await job.run("acme", MONDAY))["buckets"] == {"new": 1}
    assert (await rig.analysis("one", 0))["tenant"] == "acme"


async def test_more_suppliers_than_one_transaction_takes(rig):
    many = 1000 // len(FINDINGS) * 2 + 1
    await rig.suppliers(*(f"s{number:04}" for number in range(many)))
    result = await rig.analyse(0)
    assert (result["suppliers"], result["states"]) == (many, {"no_data": many})
    assert await rig.database.fetchval("SELECT count(*) FROM notifier.analyses") == many


def test_what_is_found_is_of_the_last_minute_of_its_day():
    from services.notifier.analyses.analysing import end_of
    from services.notifier.analyses.reports import Moment

    for day in (date(2026, 3, 29), date(2026, 10, 25), MONDAY):  # the clocks change on two of them
        now = datetime(2027, 1, 1, tzinfo=UTC)
        moments = [Moment(day, end_of(day, ZONE), verdict, now).occurred_at for verdict in (1, 2, 58, 59)]
        assert moments == sorted(set(moments))
        assert {moment.astimezone(ZONE).date() for moment in moments} == {day}
        assert {moment.astimezone(ZONE).time().replace(second=0) for moment in moments} == {time(23, 59)}
    assert Moment(MONDAY, end_of(MONDAY, ZONE), 1, datetime(2026, 3, 2, 8, tzinfo=UTC)).occurred_at.hour == 8
