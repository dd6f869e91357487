"""SQL of logging events. The caller's transaction, always, which has the tenant's investigations for itself (`lock`).

Lists of values go in as arrays, so that there are a handful of statements, whatever the number of events.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.folding import Fingerprint, Investigation
from services.notifier.investigations.grouping import Kind, Reported, fingerprint
from services.notifier.logbook.admitting import Kept, Surroundings
from services.notifier.logbook.keeping import minute_of


def _arrays(columns: Mapping[str, str], prefix: str = "") -> str:
    """SQL of a table with these columns (name: type), from parameters that each are a list of a column's values."""
    return "unnest(" + ", ".join(f"CAST(:{prefix}{name} AS {kind}[])" for name, kind in columns.items()) + ")"


def _values(columns: Iterable[str], rows: Sequence[Any], prefix: str = "") -> dict[str, list[Any]]:
    """These parameters, of objects that have attributes of these names."""
    return {f"{prefix}{name}": [getattr(row, name) for row in rows] for name in columns}


_KEPT = text("""
    SELECT event_id, digest, occurred_at, received_at, fingerprint_id
    FROM notifier.investigation_events WHERE tenant = :tenant AND event_id = ANY(CAST(:event_ids AS text[]))
    UNION ALL
    SELECT event_id, digest, occurred_at, received_at, NULL
    FROM notifier.quarantined_events WHERE tenant = :tenant AND event_id = ANY(CAST(:event_ids AS text[]))
""")

_BEFORE = text(f"""
    SELECT 'kept' AS what, k.* FROM ({_KEPT.text}) AS k
    UNION ALL
    SELECT 'supplier', id, NULL, NULL, NULL, NULL FROM notifier.suppliers
    WHERE tenant = :tenant AND id = ANY(CAST(:suppliers AS text[]))
    UNION ALL
    SELECT 'quota', source, NULL, NULL, NULL, used FROM notifier.event_quotas WHERE tenant = :tenant AND minute = :minute
    UNION ALL
    SELECT 'backfill', NULL, NULL, NULL, NULL, NULL
    WHERE EXISTS (SELECT FROM notifier.backfill_watermarks WHERE tenant = :tenant)
""")  # noqa: S608 - text of this module

# All that there is of each, in the order in which it is made.
_OF_FINGERPRINT = tuple(one.name for one in fields(Fingerprint))
_OF_INVESTIGATION = tuple(one.name for one in fields(Investigation) if one.name != "fingerprints")

_OF_KINDS = text("""
    SELECT f.id FROM unnest(CAST(:suppliers AS text[]), CAST(:stages AS text[]), CAST(:reasons AS text[]))
        AS k (supplier, stage, reason)
    JOIN notifier.fingerprints f
        ON f.tenant = :tenant AND f.supplier = k.supplier AND f.stage = k.stage AND f.reason = k.reason
    UNION ALL
    SELECT f.id FROM unnest(CAST(:suppliers AS text[]), CAST(:stages AS text[]), CAST(:reasons AS text[]))
        AS k (supplier, stage, reason)
    JOIN notifier.fingerprints f ON f.tenant = :tenant AND f.supplier IS NULL AND f.stage = k.stage AND f.reason = k.reason
    WHERE k.supplier IS NULL
""")

# Row by row, each by its key: that is right whatever the planner believes of tables that grow from nothing in a minute.
_CONCERNED = text(f"""
    WITH concerned AS (
        SELECT f.investigation_id FROM unnest(CAST(:fingerprints AS text[])) AS wanted (fingerprint), LATERAL (
            SELECT investigation_id FROM notifier.fingerprints WHERE tenant = :tenant AND fingerprint = wanted.fingerprint LIMIT 1
        ) AS f
        UNION
        SELECT investigation_id FROM notifier.fingerprints WHERE tenant = :tenant AND given = ANY(CAST(:given AS text[]))
        UNION
        SELECT f.investigation_id FROM unnest(CAST(:fingerprint_ids AS bigint[])) AS wanted (id), LATERAL (
            SELECT investigation_id FROM notifier.fingerprints WHERE tenant = :tenant AND id = wanted.id LIMIT 1
        ) AS f
    )
    SELECT {", ".join(f"f.{name} AS f_{name}" for name in _OF_FINGERPRINT)},
        {", ".join(f"i.{name}" for name in _OF_INVESTIGATION)}
    FROM concerned c, LATERAL (
        SELECT * FROM notifier.investigations WHERE tenant = :tenant AND id = c.investigation_id LIMIT 1
    ) AS i, LATERAL (
        SELECT * FROM notifier.fingerprints WHERE tenant = :tenant AND investigation_id = c.investigation_id OFFSET 0
    ) AS f
    ORDER BY i.id, f.id
""")  # noqa: S608 - names of this module

_RESOLVED_KINDS = text("""
    SELECT supplier, stage, reason, last_resolved FROM notifier.fingerprints
    WHERE tenant = :tenant AND fingerprint = ANY(CAST(:fingerprints AS text[])) AND last_resolved IS NOT NULL
""")
_NEW_IDS = text("SELECT uuidv7() FROM generate_series(1, :number)")

_QUARANTINED = {
    "event_id": "text",
    "supplier": "text",
    "received_at": "timestamptz",
    "occurred_at": "timestamptz",
    "digest": "bytea",
    "reported": "text",
}
_QUARANTINE = text(f"""
    INSERT INTO notifier.quarantined_events (tenant, event_id, supplier, received_at, occurred_at, digest, reported)
    SELECT :tenant, q.event_id, q.supplier, q.received_at, q.occurred_at, q.digest, CAST(q.reported AS jsonb)
    FROM {_arrays(_QUARANTINED)} AS q ({", ".join(_QUARANTINED)})
""")  # noqa: S608 - names of this module

_HISTORY = {
    "investigation_id": "uuid",
    "what": "text",
    "happened_at": "timestamptz",
    "event_id": "text",
}
_ADD_HISTORY = text(f"""
    INSERT INTO notifier.investigation_history (tenant, {", ".join(_HISTORY)})
    SELECT :tenant, h.* FROM {_arrays(_HISTORY)} AS h
""")  # noqa: S608 - names of this module

_REGISTER_REASONS = text("""
    INSERT INTO notifier.reasons AS r (tenant, code, first_seen)
    SELECT :tenant, n.* FROM unnest(CAST(:codes AS text[]), CAST(:first_seen AS timestamptz[])) AS n
    ON CONFLICT (tenant, code) DO UPDATE SET first_seen = least(r.first_seen, excluded.first_seen)
    WHERE r.first_seen IS NULL OR r.first_seen > excluded.first_seen
""")

_TAKE_FROM_QUARANTINE = text("""
    WITH taken AS (
        SELECT q.event_id FROM notifier.quarantined_events q
        WHERE q.tenant = :tenant AND q.supplier = ANY(CAST(:suppliers AS text[]))
            AND EXISTS (SELECT FROM notifier.suppliers s WHERE s.tenant = q.tenant AND s.id = q.supplier)
        ORDER BY q.supplier, q.occurred_at LIMIT :most
    )
    DELETE FROM notifier.quarantined_events q USING taken
    WHERE q.tenant = :tenant AND q.event_id = taken.event_id
    RETURNING q.event_id, q.supplier, q.received_at, q.occurred_at, q.digest, CAST(q.reported AS text) AS reported
""")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of `quarantined_events`; `reported` is JSON."""

    event_id: str
    supplier: str
    received_at: datetime
    occurred_at: datetime
    digest: bytes
    reported: str


@dataclass(frozen=True, slots=True)
class Happened:
    """A row of `investigation_history` that an event makes."""

    investigation_id: UUID
    what: str
    happened_at: datetime
    event_id: str | None


async def kept(connection: AsyncConnection, tenant: str, event_ids: Sequence[str]) -> dict[str, Kept]:
    """Those that are there already, by their id."""
    found = await connection.execute(_KEPT, {"tenant": tenant, "event_ids": event_ids})
    return {row[0]: Kept(*row[1:]) for row in found}


async def before(
    connection: AsyncConnection, tenant: str, reported: Sequence[Reported], now: datetime
) -> tuple[dict[str, Kept], Surroundings]:
    """Those of the events that are there already, by their id; and what decides whether others are let in."""
    values = {
        "tenant": tenant,
        "event_ids": [event.event_id for event in reported],
        "suppliers": list({event.supplier for event in reported if event.supplier is not None}),
        "minute": minute_of(now),
    }
    rows = (await connection.execute(_BEFORE, values)).all()
    there = {row[1]: Kept(*row[2:]) for row in rows if row[0] == "kept"}
    known = frozenset(row[1] for row in rows if row[0] == "supplier")
    used = {row[1]: row[5] for row in rows if row[0] == "quota"}
    return there, Surroundings(known, used, any(row[0] == "backfill" for row in rows))


async def of_kinds(connection: AsyncConnection, tenant: str, kinds: Iterable[Kind]) -> list[int]:
    """All fingerprints of these kinds."""
    wanted = list(kinds)
    values = {
        "tenant": tenant,
        "suppliers": [supplier for supplier, _, _ in wanted],
        "stages": [stage for _, stage, _ in wanted],
        "reasons": [reason for _, _, reason in wanted],
    }
    return list(await connection.scalars(_OF_KINDS, values))


async def concerned(
    connection: AsyncConnection, tenant: str, reported: Iterable[Reported], fingerprint_ids: Sequence[int]
) -> list[Investigation]:
    """The investigations of these events and fingerprints, with all their fingerprints."""
    wanted = {(event.fingerprint, event.given) for event in reported}
    values = {
        "tenant": tenant,
        "fingerprints": list({one for one, _ in wanted}),
        "given": list({given for _, given in wanted if given is not None}),
        "fingerprint_ids": list(fingerprint_ids),
    }
    rows = (await connection.execute(_CONCERNED, values)).all()
    return [_investigation(list(of_one)) for _, of_one in groupby(rows, key=attrgetter("id"))]


def _investigation(rows: Sequence[Row[Any]]) -> Investigation:
    found = Investigation(*rows[0][len(_OF_FINGERPRINT) :])
    found.fingerprints = [Fingerprint(*row[: len(_OF_FINGERPRINT)]) for row in rows]
    return found


async def resolved_kinds(
    connection: AsyncConnection, tenant: str, kinds: Iterable[Kind]
) -> dict[Kind, datetime]:
    """When an event last resolved all of a kind, of those for which one did."""
    values = {"tenant": tenant, "fingerprints": [fingerprint(*kind) for kind in kinds]}
    found = await connection.execute(_RESOLVED_KINDS, values)
    return {(row.supplier, row.stage, row.reason): row.last_resolved for row in found}


async def new_ids(connection: AsyncConnection, number: int) -> list[UUID]:
    return list(await connection.scalars(_NEW_IDS, {"number": number}))


async def quarantine(connection: AsyncConnection, tenant: str, waiting: Sequence[Waiting]) -> None:
    await connection.execute(_QUARANTINE, {"tenant": tenant, **_values(_QUARANTINED, waiting)})


async def add_history(connection: AsyncConnection, tenant: str, history: Sequence[Happened]) -> None:
    await connection.execute(_ADD_HISTORY, {"tenant": tenant, **_values(_HISTORY, history)})


async def register_reasons(connection: AsyncConnection, tenant: str, reasons: Mapping[str, datetime]) -> None:
    """Remember codes, and when an error with one first occurred."""
    codes = sorted(reasons)
    values = {"tenant": tenant, "codes": codes, "first_seen": [reasons[code] for code in codes]}
    await connection.execute(_REGISTER_REASONS, values)


async def take_from_quarantine(
    connection: AsyncConnection, tenant: str, suppliers: Sequence[str], *, most: int
) -> Sequence[Row[Any]]:
    """Remove up to `most` events of those of these suppliers that are known, and return them."""
    values = {"tenant": tenant, "suppliers": list(suppliers), "most": most}
    return (await connection.execute(_TAKE_FROM_QUARANTINE, values)).all()
