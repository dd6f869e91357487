"""The daily analysis: every enabled supplier's day is judged, kept, and told to the investigations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.analyses import repository
from services.notifier.analyses.findings import FINDINGS, REPORTED_BY_OTHERS, Finding
from services.notifier.analyses.judging import Analysis, judge
from services.notifier.analyses.reports import Moment, given_fingerprint, resolve, trigger
from services.notifier.analyses.repository import Kept
from services.notifier.analyses.thresholds import Thresholds
from services.notifier.investigations.grouping import Reported
from services.notifier.investigations.locking import lock
from services.notifier.jobs.job import Job
from services.notifier.logbook.logbook import Logbook
from shared.contracts.problems import Problem
from shared.platform.tenancy import tenant_reading, tenant_writing

JOB = "daily-analysis"
AT = time(3)  # by then the files of the evening have been imported
# While a transaction logs, nobody else logs for this tenant: at most 1,000 events, were all found of all of them.
FINDINGS_AT_ONCE = 1000
SUPPLIERS_AT_ONCE = FINDINGS_AT_ONCE // len(FINDINGS)

Judged = list[tuple[Analysis, int]]


def daily_analysis(
    engine: AsyncEngine,
    logbook: Logbook,
    thresholds: Thresholds,
    zone: ZoneInfo,
    *,
    after: str | None = None,
) -> Job:
    """The job that analyses every enabled supplier's day; for all tenants that have one.

    Args:
        zone: Of the deployment's days.
        after: The job that brings what is analysed, if there is one.
    """

    async def run(tenant: str, day: date) -> Mapping[str, Any]:
        return await analyse(engine, logbook, tenant, day, thresholds=thresholds, zone=zone)

    return Job(
        name=JOB,
        description="Judges each supplier's day: whether it is late, and what is odd about its files",
        at=AT,
        run=run,
        tenants=repository.tenants,
        after=after,
    )


async def analyse(
    engine: AsyncEngine,
    logbook: Logbook,
    tenant: str,
    day: date,
    *,
    thresholds: Thresholds,
    zone: ZoneInfo,
) -> Mapping[str, Any]:
    """Analyse `day` of every enabled supplier, by what happened up to its end: how many came to what.

    Some suppliers at a time, each lot in a transaction of its own. A day that is analysed again is judged anew; where the
    verdict is the same, nothing is logged.

    Raises:
        Problem: an event of the analysis was refused.
    """
    counts: Counter[tuple[str, str]] = Counter()
    logged, last = 0, ""
    while True:
        async with tenant_reading(engine, tenant) as connection:
            ids = await repository.enabled_suppliers(connection, tenant, after=last, limit=SUPPLIERS_AT_ONCE)
            if not ids:
                break
            facts = await repository.facts_of(
                connection,
                tenant,
                ids,
                day,
                window_days=thresholds.window_days,
                begin=end_of(day - timedelta(days=1), zone),
                end=end_of(day, zone),
            )
        analyses = [judge(one, day, thresholds) for one in facts]
        async with tenant_writing(engine, tenant) as connection:
            logged += await _write(connection, logbook, tenant, analyses, zone)
        counts.update(_counted(analyses))
        last = ids[-1]
    logged += await _let_go(engine, logbook, tenant, _moment(day, 1, zone))
    return _result(counts, logged)


async def _let_go(engine: AsyncEngine, logbook: Logbook, tenant: str, moment: Moment) -> int:
    """Nothing is expected any more of suppliers that were disabled or deleted: what was found of them is over. How much."""
    ended = 0
    while True:
        async with tenant_writing(engine, tenant) as connection:
            await lock(connection, tenant)
            left = await repository.left_standing(
                connection, tenant, until=moment.occurred_at, limit=FINDINGS_AT_ONCE
            )
            if not left:
                return ended
            for answer in await logbook.log(connection, tenant, [resolve(*one, moment) for one in left]):
                if isinstance(answer, Problem):
                    raise answer
        ended += len(left)


def _counted(analyses: Sequence[Analysis]) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter(("states", one.state) for one in analyses)
    counted.update(("buckets", one.cadence.bucket) for one in analyses)
    counted.update(("findings", found.name) for one in analyses for found in one.odd)
    return counted


def _result(counts: Counter[tuple[str, str]], logged: int) -> Mapping[str, Any]:
    by: dict[str, dict[str, int]] = {"states": {}, "buckets": {}, "findings": {}}
    for (what, name), count in sorted(counts.items()):
        by[what][name] = count
    return {"suppliers": sum(by["states"].values()), **by, "events_logged": logged}


async def _write(
    connection: AsyncConnection, logbook: Logbook, tenant: str, analyses: Sequence[Analysis], zone: ZoneInfo
) -> int:
    """Keep the analyses, all of one day, and log what is new in them: how many events."""
    await lock(connection, tenant)
    day, ids = analyses[0].day, [one.supplier for one in analyses]
    kept = await repository.kept(connection, tenant, ids, day)
    judged = [(one, _verdicts(one, kept.get(one.supplier))) for one in analyses]
    await repository.keep(connection, tenant, day, judged)
    events = await _news(connection, tenant, judged, kept, zone)
    for answer in await logbook.log(connection, tenant, events):
        if isinstance(answer, Problem):
            raise answer
    return len(events)


def _verdicts(analysis: Analysis, kept: Kept | None) -> int:
    if kept is None:
        return 1
    return kept.verdicts + (kept.judged != {one.name: one.judgement for one in analysis.findings})


async def _news(
    connection: AsyncConnection, tenant: str, judged: Judged, kept: Mapping[str, Kept], zone: ZoneInfo
) -> list[Reported]:
    """What is to be logged: findings that were not kept before; and of those that have passed, what is unresolved."""
    found: list[tuple[str, Finding, Moment]] = []
    passed: list[tuple[str, Finding, Moment]] = []
    for analysis, verdict in judged:
        moment = _moment(analysis.day, verdict, zone)
        before = kept[analysis.supplier].judged if analysis.supplier in kept else {}
        for finding in analysis.findings:
            if finding.judgement == "passed":
                passed.append((analysis.supplier, finding, moment))
            elif finding.name not in REPORTED_BY_OTHERS and finding.judgement != before.get(finding.name):
                found.append((analysis.supplier, finding, moment))
    standing = await repository.standings(
        connection, tenant, [given_fingerprint(supplier, finding.name) for supplier, finding, _ in passed]
    )
    events = [trigger(*one) for one in found]
    for supplier, finding, moment in passed:
        last = standing.get(given_fingerprint(supplier, finding.name))
        if last is not None and _is_unresolved(last, moment):
            events.append(resolve(supplier, finding.name, moment))
    return events + await _resolved_since(connection, tenant, found, zone)


def _is_unresolved(last: Any, moment: Moment) -> bool:
    """Whether the errors of a fingerprint count until this moment. What is triggered after it, a later day's run judged."""
    if last.last_triggered is None or last.last_triggered >= moment.occurred_at:
        return False
    return last.last_resolved is None or last.last_resolved < last.last_triggered


async def _resolved_since(
    connection: AsyncConnection, tenant: str, found: Sequence[tuple[str, Finding, Moment]], zone: ZoneInfo
) -> list[Reported]:
    """Ends of what is found on a day that is analysed after later ones: then nobody else would log them."""
    if not found:
        return []
    names = [(supplier, finding.name) for supplier, finding, _ in found]
    rows = await repository.passed_later(connection, tenant, names, found[0][2].day)
    return [resolve(row.supplier, row.finding, _moment(row.day, row.verdicts, zone)) for row in rows]


def _moment(day: date, verdict: int, zone: ZoneInfo) -> Moment:
    return Moment(day, end_of(day, zone), verdict, datetime.now(UTC))


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The midnight after `day` in that zone, in UTC."""
    return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
