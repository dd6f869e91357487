"""The job that brings over what ClickHouse has, and keeps it in step day by day."""

import time as clock
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.backfill import errors, prices, repository
from services.notifier.backfill.errors import Errors
from services.notifier.backfill.prices import take_over_prices
from services.notifier.backfill.source import connected
from services.notifier.backfill.sources import Sources
from services.notifier.backfill.suppliers import Suppliers
from services.notifier.backfill.windows import read_again_from, start_of, windows
from services.notifier.jobs.job import Job
from services.notifier.logbook.logbook import Logbook

NAME = "clickhouse-backfill"
DAY = timedelta(days=1)
AT = time(2)  # when what is loaded at night is there, and before the day is judged


def backfill_job(
    engine: AsyncEngine, logbook: Logbook, sources: Sources, zone: ZoneInfo, *, retention: timedelta
) -> Job:
    """What is due once a day for the tenant whose errors these are.

    Args:
        zone: Of the deployment's days.
        retention: For how long events are kept.
    """

    async def tenants(_: AsyncConnection) -> Sequence[str]:
        return [sources.tenant]

    async def run(tenant: str, logical_date: date) -> Mapping[str, Any]:
        return await backfill(engine, logbook, sources, tenant, logical_date, zone=zone, retention=retention)

    return Job(
        name=NAME,
        description="Takes over errors, suppliers and the prices of files from ClickHouse",
        at=AT,
        run=run,
        tenants=tenants,
    )


async def backfill(
    engine: AsyncEngine,
    logbook: Logbook,
    sources: Sources,
    tenant: str,
    logical_date: date,
    *,
    zone: ZoneInfo,
    retention: timedelta,
) -> Mapping[str, Any]:
    """Take over what is new since the last run, whatever the date, and look at `logical_date` again.

    Returns:
        For suppliers, errors and prices: rows that were read, what became of them, and the seconds that it took.

    Raises:
        ClickHouseFailed: it is away, or broke off. What was taken over until then stays; the next run goes on from there.
    """
    now = datetime.now(UTC)
    kept_since = now - retention + DAY  # a day more: a row may be dated a little ahead of when it was read

    async def watermark(source: str) -> datetime | None:
        async with engine.connect() as connection:
            return await repository.watermark(connection, tenant, source)

    async with connected(sources, zone) as source:
        known = Suppliers(engine, logbook, tenant)

        async def take_suppliers() -> Mapping[str, int]:
            return await known.take_over(await source.suppliers())

        async def take_errors() -> Mapping[str, int]:
            last = await watermark(errors.SOURCE)
            since = last and read_again_from(last, sources.overlap, kept_since)
            times = windows(since, logical_date, zone=zone, now=now, kept_since=kept_since)
            taking = Errors(engine, logbook, known, tenant, stage=sources.stage, watermark=last)
            return await taking.take_over(source, times)

        async def take_prices() -> Mapping[str, int]:
            last = await watermark(prices.SOURCE)
            whole = last and start_of((last - sources.overlap).astimezone(zone).date(), zone)
            days = windows(whole, logical_date, zone=zone, now=now)
            return await take_over_prices(engine, source, known, tenant, days, stage=sources.stage, zone=zone)

        result: dict[str, Any] = {
            "suppliers": await _timed(take_suppliers),
            "errors": await _timed(take_errors),
            "prices": await _timed(take_prices),
        }
        return result | ({"missing": source.missing} if source.missing else {})


async def _timed(take: Callable[[], Awaitable[Mapping[str, int]]]) -> Mapping[str, float]:
    began = clock.monotonic()
    return {**await take(), "seconds": round(clock.monotonic() - began, 3)}
