"""SQL of analyses: what they are made of, and what is kept of them. One tenant's, in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ARRAY, Date, Integer, Row, Text, bindparam, func, literal, literal_column, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.analyses.cadence import GoodDays
from services.notifier.analyses.findings import ANALYSE, FINDINGS, Delivered, File
from services.notifier.analyses.judging import Analysis, Facts
from services.notifier.tables import fingerprints, suppliers

AnyRow = Row[Any]

# Of a supplier's files of a day the last ones; more are counted elsewhere, and nobody reads what was found of each.
FILES_JUDGED = 200
# Of earlier files the last ones: five of each day, in the window by default.
FILES_LOOKED_AT = 1000

_ENABLED = text("""
    SELECT id FROM notifier.suppliers WHERE tenant = :tenant AND enabled AND id > :after ORDER BY id LIMIT :limit
""")
# Those, too, that have none enabled any more, but of whose suppliers something stands: it is over.
_TENANTS = (
    select(suppliers.c.tenant)
    .where(suppliers.c.enabled)
    .union(
        select(fingerprints.c.tenant).where(
            fingerprints.c.stage == literal_column(f"'{ANALYSE}'"),  # as its index has it
            fingerprints.c.reason.in_(FINDINGS),
            fingerprints.c.given == "analysis:" + fingerprints.c.supplier + ":" + fingerprints.c.reason,
            fingerprints.c.last_triggered > func.coalesce(fingerprints.c.last_resolved, text("'-infinity'")),
        )
    )
    .order_by("tenant")
)

_OF_SUPPLIER = "f.tenant = :tenant AND f.supplier = s.id AND f.status = 'good' AND f.day <= :day"
_GOOD_DAYS = (
    text(f"""
    SELECT s.id, first.day AS first, (
            SELECT array_agg(DISTINCT f.day ORDER BY f.day) FROM notifier.supplier_files f
            WHERE {_OF_SUPPLIER} AND f.day > last.day - :window_days
        ) AS days
    FROM unnest(:suppliers) AS s (id)
    LEFT JOIN LATERAL (
        SELECT f.day FROM notifier.supplier_files f WHERE {_OF_SUPPLIER} ORDER BY f.day LIMIT 1
    ) first ON true
    LEFT JOIN LATERAL (
        SELECT f.day FROM notifier.supplier_files f WHERE {_OF_SUPPLIER} ORDER BY f.day DESC LIMIT 1
    ) last ON true
""")  # noqa: S608 - text of this module
    .bindparams(
        bindparam("suppliers", type_=ARRAY(Text)),
        bindparam("day", type_=Date),
        bindparam("window_days", type_=Integer),
    )
    .columns(id=Text, first=Date, days=ARRAY(Date))
)

# Files of one kind come in turn: of one origin and dataset, named alike but for digits. `alike` goes before the rest, which
# is compared with where nothing is named so.
_KIND = "translate(lower({0}.path), '0123456789', '')"
_FILE = "{0}.id, {0}.day, {0}.status, {0}.import_id, {0}.dataset, {0}.path, {0}.rows, {0}.rejected, {0}.header, {0}.profile"
_DELIVERED = (
    text(f"""
    SELECT s.id AS supplier, to_jsonb(t) AS file, t.superseded, e.weekday_rows, e.alike_rows,
        (SELECT to_jsonb(b) FROM (SELECT {_FILE.format("f")} FROM notifier.supplier_files f
            WHERE f.tenant = :tenant AND f.id = e.before_id) b) AS before,
        (SELECT to_jsonb(b) FROM (SELECT {_FILE.format("f")} FROM notifier.supplier_files f
            WHERE f.tenant = :tenant AND f.id = e.month_before_id) b) AS month_before,
        (SELECT to_jsonb(b) FROM (SELECT f.id, f.day, f.status, f.import_id, f.path FROM notifier.supplier_files f
            WHERE f.tenant = :tenant AND f.supplier = s.id AND f.sha256 = t.sha256 AND f.status = 'good'
                AND f.origin = t.origin AND (f.occurred_at, f.id) < (t.occurred_at, t.id)
            ORDER BY f.occurred_at DESC, f.id DESC LIMIT 1) b) AS same_as
    FROM unnest(:suppliers) AS s (id)
    CROSS JOIN LATERAL (
        SELECT latest.*, CASE status
            WHEN 'good' THEN row_number() OVER (PARTITION BY status, origin, dataset, kind ORDER BY occurred_at DESC, id DESC)
            ELSE row_number() OVER (PARTITION BY origin, dataset, kind ORDER BY occurred_at DESC, id DESC)
        END > 1 AS superseded
        FROM (
            SELECT {_FILE.format("f")}, f.occurred_at, f.origin, f.sha256, {_KIND.format("f")} AS kind
            FROM notifier.supplier_files f
            WHERE f.tenant = :tenant AND f.supplier = s.id AND f.day = :day AND f.status <> 'uncounted'
            ORDER BY f.occurred_at DESC, f.id DESC LIMIT {FILES_JUDGED}
        ) latest
    ) t
    LEFT JOIN LATERAL (
        SELECT (array_agg(id ORDER BY alike DESC, day DESC, occurred_at DESC, id DESC))[1] AS before_id,
            (array_agg(id ORDER BY alike DESC, day, occurred_at, id) FILTER (WHERE day >= :day - 30))[1] AS month_before_id,
            array_agg(rows) FILTER (WHERE rows IS NOT NULL AND (:day - day) % 7 = 0) AS weekday_rows,
            array_agg(rows) FILTER (WHERE rows IS NOT NULL AND (:day - day) % 7 = 0 AND alike) AS alike_rows
        FROM (
            SELECT f.id, f.day, f.occurred_at, f.rows, coalesce({_KIND.format("f")} = t.kind, false) AS alike
            FROM notifier.supplier_files f
            WHERE f.tenant = :tenant AND f.supplier = s.id AND f.day < :day AND f.day > :day - :window_days
                AND f.status = 'good' AND f.origin = t.origin AND f.dataset IS NOT DISTINCT FROM t.dataset
            ORDER BY f.day DESC LIMIT {FILES_LOOKED_AT}
        ) earlier
    ) e ON t.status <> 'received' AND NOT t.superseded
    ORDER BY s.id, t.occurred_at, t.id
""")  # noqa: S608 - text of this module
    .bindparams(
        bindparam("suppliers", type_=ARRAY(Text)),
        bindparam("day", type_=Date),
        bindparam("window_days", type_=Integer),
    )
    .columns(supplier=Text, file=JSONB, before=JSONB, month_before=JSONB, same_as=JSONB)
)

_NEW_REASONS = text("""
    SELECT supplier, reason FROM notifier.fingerprints
    WHERE tenant = :tenant AND supplier = ANY (:suppliers) AND stage <> :analyse
    GROUP BY supplier, reason HAVING min(first_seen) >= :begin AND min(first_seen) < :end
    ORDER BY supplier, reason
""").bindparams(bindparam("suppliers", type_=ARRAY(Text)), bindparam("analyse", ANALYSE))

_KEPT = text("""
    SELECT supplier, findings, passed, verdicts FROM notifier.analyses
    WHERE tenant = :tenant AND day = :day AND supplier = ANY (:suppliers)
""").bindparams(bindparam("suppliers", type_=ARRAY(Text)), bindparam("day", type_=Date)).columns(findings=JSONB)  # fmt: skip

_KEEP = text("""
    INSERT INTO notifier.analyses AS a (tenant, supplier, day, state, bucket, cadence, findings, passed, last_good_day,
        expected_day, verdicts)
    SELECT :tenant, supplier, :day, state, bucket, cadence, findings, passed, last_good_day, expected_day, verdicts
    FROM jsonb_to_recordset(:analyses) AS r (supplier text, state text, bucket text, cadence jsonb, findings jsonb,
        passed text[], last_good_day date, expected_day date, verdicts integer)
    ON CONFLICT (tenant, supplier, day) DO UPDATE SET state = excluded.state, bucket = excluded.bucket,
        cadence = excluded.cadence, findings = excluded.findings, passed = excluded.passed,
        last_good_day = excluded.last_good_day, expected_day = excluded.expected_day, verdicts = excluded.verdicts,
        analysed_at = now()
""").bindparams(bindparam("analyses", type_=JSONB), bindparam("day", type_=Date))

# Of a finding the first day after, on which it was judged and was none.
_PASSED_LATER = text("""
    SELECT f.supplier, f.finding, later.day, later.verdicts
    FROM unnest(:suppliers, :findings) AS f (supplier, finding)
    CROSS JOIN LATERAL (
        SELECT a.day, a.verdicts FROM notifier.analyses a
        WHERE a.tenant = :tenant AND a.supplier = f.supplier AND a.day > :day AND f.finding = ANY (a.passed)
        ORDER BY a.day LIMIT 1
    ) later
""").bindparams(
    bindparam("suppliers", type_=ARRAY(Text)),
    bindparam("findings", type_=ARRAY(Text)),
    bindparam("day", type_=Date),
)


# Found of suppliers that are analysed no more, and not resolved by the end of the day. What others log under such a name is
# left alone: no end that an analysis logs would be of it.
_LEFT_STANDING = text(f"""
    SELECT f.supplier, f.reason, f.given, f.last_triggered, f.last_resolved FROM notifier.fingerprints f
    WHERE f.tenant = :tenant AND f.stage = '{ANALYSE}' AND f.reason = ANY (:findings)
        AND f.given = 'analysis:' || f.supplier || ':' || f.reason
        AND f.last_triggered > coalesce(f.last_resolved, '-infinity') AND f.last_triggered < :until
        AND NOT EXISTS (
            SELECT FROM notifier.suppliers s WHERE s.tenant = f.tenant AND s.id = f.supplier AND s.enabled
        )
    ORDER BY f.id LIMIT :limit
""").bindparams(bindparam("findings", list(FINDINGS), type_=ARRAY(Text)))  # noqa: S608 - text of this module


@dataclass(frozen=True)
class Kept:
    """What an earlier run kept of a supplier's day. `judged`: how each finding was judged, by its name."""

    judged: Mapping[str, str]
    verdicts: int


async def tenants(connection: AsyncConnection) -> Sequence[str]:
    """All that have a supplier to analyse, or had one of which something was found."""
    return list(await connection.scalars(_TENANTS))


async def enabled_suppliers(
    connection: AsyncConnection, tenant: str, *, after: str, limit: int
) -> Sequence[str]:
    """The next of the suppliers that are analysed, by id."""
    return list(await connection.scalars(_ENABLED, {"tenant": tenant, "after": after, "limit": limit}))


async def facts_of(
    connection: AsyncConnection,
    tenant: str,
    supplier_ids: Sequence[str],
    day: date,
    *,
    window_days: int,
    begin: datetime,
    end: datetime,
) -> list[Facts]:
    """What was known of each supplier at the end of `day`, which is from `begin` to `end`."""
    asked = {"tenant": tenant, "suppliers": supplier_ids, "day": day}
    good = await connection.execute(_GOOD_DAYS, asked | {"window_days": window_days})
    good_of = {row.id: GoodDays(row.first, tuple(row.days or ())) for row in good}
    delivered = await connection.execute(_DELIVERED, asked | {"window_days": window_days})
    delivered_of = _by_supplier((row.supplier, _delivered(row)) for row in delivered)
    days = {"begin": begin, "end": end}
    new = await connection.execute(_NEW_REASONS, {"tenant": tenant, "suppliers": supplier_ids, **days})
    new_of = _by_supplier((row.supplier, row.reason) for row in new)
    return [Facts(one, good_of[one], delivered_of.get(one, ()), new_of.get(one, ())) for one in supplier_ids]


def _by_supplier(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for supplier, thing in pairs:
        found.setdefault(supplier, []).append(thing)
    return found


def _delivered(row: AnyRow) -> Delivered:
    return Delivered(
        file=_file(row.file),
        superseded=row.superseded,
        before=_file(row.before) if row.before else None,
        month_before=_file(row.month_before) if row.month_before else None,
        weekday_rows=row.alike_rows or row.weekday_rows or (),
        same_as=_file(row.same_as) if row.same_as else None,
    )


def _file(document: Mapping[str, Any]) -> File:
    return File(
        id=document["id"],
        day=date.fromisoformat(document["day"]),
        status=document["status"],
        import_id=document["import_id"],
        dataset=document.get("dataset"),
        path=document["path"],
        rows=document.get("rows"),
        rejected=document.get("rejected"),
        header=document.get("header"),
        profile=document.get("profile") or {},
    )


async def kept(
    connection: AsyncConnection, tenant: str, supplier_ids: Sequence[str], day: date
) -> dict[str, Kept]:
    """What an earlier run kept of the day, by supplier."""
    found = await connection.execute(_KEPT, {"tenant": tenant, "day": day, "suppliers": supplier_ids})
    return {row.supplier: Kept(_judged(row), row.verdicts) for row in found}


def _judged(row: AnyRow) -> dict[str, str]:
    return {one["finding"]: one["state"] for one in row.findings} | dict.fromkeys(row.passed, "passed")


async def keep(
    connection: AsyncConnection, tenant: str, day: date, analysed: Sequence[tuple[Analysis, int]]
) -> None:
    """Keep the analyses of the day, each with how many different verdicts there were of it, in place of earlier ones."""
    documents = [_document(analysis) | {"verdicts": verdicts} for analysis, verdicts in analysed]
    await connection.execute(_KEEP, {"tenant": tenant, "day": day, "analyses": documents})


def _document(analysis: Analysis) -> dict[str, Any]:
    cadence = {name: value for name, value in vars(analysis.cadence).items() if name != "bucket"}
    return {
        "supplier": analysis.supplier,
        "state": analysis.state,
        "bucket": analysis.cadence.bucket,
        "cadence": cadence,
        "findings": [finding.document() for finding in analysis.odd],
        "passed": analysis.passed,
        "last_good_day": analysis.last_good_day and analysis.last_good_day.isoformat(),
        "expected_day": analysis.expected_day and analysis.expected_day.isoformat(),
    }


async def standings(connection: AsyncConnection, tenant: str, given: Sequence[str]) -> dict[str, Any]:
    """When errors of these fingerprints last occurred and were resolved by an event, by what was given as fingerprint."""
    query = select(fingerprints.c.given, fingerprints.c.last_triggered, fingerprints.c.last_resolved).where(
        fingerprints.c.tenant == tenant,
        fingerprints.c.given == func.any(literal(given, ARRAY(Text))),
        fingerprints.c.stage == ANALYSE,  # others may give the same name
    )
    return {row.given: row for row in await connection.execute(query)}


async def passed_later(
    connection: AsyncConnection, tenant: str, found: Sequence[tuple[str, str]], day: date
) -> Sequence[AnyRow]:
    """Of each (supplier, finding) the first later day on which it is none, if there is one analysed already."""
    asked = {
        "tenant": tenant,
        "suppliers": [one for one, _ in found],
        "findings": [one for _, one in found],
    }
    return (await connection.execute(_PASSED_LATER, asked | {"day": day})).all()


async def left_standing(
    connection: AsyncConnection, tenant: str, *, until: datetime, limit: int
) -> Sequence[tuple[str, str]]:
    """Supplier and finding of what was found before `until` of suppliers that are not analysed any more."""
    found = await connection.execute(_LEFT_STANDING, {"tenant": tenant, "until": until, "limit": limit})
    return [(row.supplier, row.reason) for row in found]
