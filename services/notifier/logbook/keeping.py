"""SQL of keeping what a batch of events comes to: one statement, however many there are.

All values go in as one JSON document with a list for each column: of all ways to bring some hundred rows to PostgreSQL
within a statement, that takes the least time here and there together (arrays of the driver take half as much again).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.folding import Fingerprint, Investigation
from services.notifier.investigations.grouping import Reported

Days = Mapping[
    tuple[str, date], tuple[int, datetime]
]  # by fingerprint and day: triggers, and the time of the last one

_INVESTIGATION = {
    "id": "uuid",
    "opened_at": "timestamptz",
    "supplier": "text",
    "stage": "text",
    "reason": "text",
    "summary": "text",
    "severity": "text",
    "state": "text",
    "event_count": "bigint",
    "first_seen": "timestamptz",
    "last_seen": "timestamptz",
    "unresolved_at": "timestamptz",
    "event_resolved_at": "timestamptz",
    "events_since_muted": "integer",
}
_FINGERPRINT = {
    "fingerprint": "text",
    "supplier": "text",
    "stage": "text",
    "reason": "text",
    "detail": "text",
    "given": "text",
    "event_count": "bigint",
    "first_seen": "timestamptz",
    "first_event_id": "text",
    "summary": "text",
    "severity": "text",
    "last_triggered": "timestamptz",
    "last_resolved": "timestamptz",
}
_EVENT = {
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "resolves": "boolean",
    "event_id": "text",
    "severity": "notifier.event_severity",
    "origin": "notifier.event_origin",
    "digest": "bytea",
    "summary": "text",
    "import_id": "uuid",
    "file": "jsonb",
    "extra": "jsonb",
}
_DAY = {"day": "date", "events": "integer", "last_occurred_at": "timestamptz"}
_QUOTA = {"source": "text", "used": "integer"}


def _rows(columns: Mapping[str, str], prefix: str) -> str:
    """SQL of a table with these columns (name: type) of the batch, where each is called `prefix` and its name."""
    lists = ", ".join(f"{_elements(kind)}(b.batch -> '{prefix}{name}')" for name, kind in columns.items())
    values = ", ".join(f"{_value(name, kind)} AS {name}" for name, kind in columns.items())
    return f"(SELECT {values} FROM batch AS b, ROWS FROM ({lists}) AS r ({', '.join(columns)}))"  # noqa: S608


def _elements(kind: str) -> str:
    return "jsonb_array_elements" if kind == "jsonb" else "jsonb_array_elements_text"


def _value(name: str, kind: str) -> str:
    return f"nullif(r.{name}, 'null')" if kind == "jsonb" else f"CAST(r.{name} AS {kind})"


_BATCH = "batch AS MATERIALIZED (SELECT CAST(:batch AS jsonb) AS batch)"
_QUOTAS = f"""
    INSERT INTO notifier.event_quotas (tenant, minute, {", ".join(_QUOTA)})
    SELECT :tenant, CAST(:minute AS timestamptz), q.* FROM {_rows(_QUOTA, "q_")} AS q
    ON CONFLICT (tenant, source) DO UPDATE SET minute = excluded.minute, used = excluded.used
"""  # noqa: S608 - names of this module
_USE_QUOTAS = text(f"WITH {_BATCH} {_QUOTAS}")

_KEEP = text(f"""
    WITH {_BATCH}, quotas AS ({_QUOTAS}), kept_investigations AS (
        INSERT INTO notifier.investigations (tenant, {", ".join(_INVESTIGATION)})
        SELECT :tenant, i.* FROM {_rows(_INVESTIGATION, "i_")} AS i
        ON CONFLICT (id) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in _INVESTIGATION if name != "id")}
    ), kept AS (
        INSERT INTO notifier.fingerprints (tenant, investigation_id, {", ".join(_FINGERPRINT)})
        SELECT :tenant, f.* FROM {_rows({"investigation_id": "uuid", **_FINGERPRINT}, "f_")} AS f
        ON CONFLICT (tenant, fingerprint) DO UPDATE SET
            event_count = excluded.event_count, first_seen = excluded.first_seen, first_event_id = excluded.first_event_id,
            summary = excluded.summary, severity = excluded.severity, last_triggered = excluded.last_triggered,
            last_resolved = excluded.last_resolved
        RETURNING id, fingerprint
    ), days AS (
        INSERT INTO notifier.event_days AS d (tenant, fingerprint_id, {", ".join(_DAY)})
        SELECT :tenant, kept.id, {", ".join(f"n.{name}" for name in _DAY)}
        FROM {_rows({"fingerprint": "text", **_DAY}, "d_")} AS n JOIN kept USING (fingerprint)
        ON CONFLICT (fingerprint_id, day) DO UPDATE SET
            events = d.events + excluded.events, last_occurred_at = greatest(d.last_occurred_at, excluded.last_occurred_at)
    )
    INSERT INTO notifier.investigation_events (tenant, fingerprint_id, {", ".join(_EVENT)})
    SELECT :tenant, kept.id, {", ".join(f"e.{name}" for name in _EVENT)}
    FROM {_rows({"fingerprint": "text", **_EVENT}, "e_")} AS e JOIN kept USING (fingerprint)
    ORDER BY kept.id, e.occurred_at  -- as the index has them, which so has fuller pages
""")  # noqa: S608 - names of this module


async def keep(
    connection: AsyncConnection,
    tenant: str,
    touched: Collection[tuple[Fingerprint, Investigation]],
    events: Sequence[Reported],
    *,
    days: Days,
    used: Mapping[str, int],
    now: datetime,
) -> None:
    """Write fingerprints and their investigations as they are now, new ones too, and add events.

    Args:
        touched: Those of all events, at least.
        days: What the events add to them.
        used: Of the quotas in this minute, by source.
    """
    # In the order of the keys, though nobody else writes them now.
    pairs = sorted(touched, key=lambda pair: pair[0].fingerprint)
    investigations = {one.id: one for _, one in pairs}
    rows = [investigations[key] for key in sorted(investigations)]
    batch = {
        **_lists(_INVESTIGATION, rows, "i_"),
        **_lists(_FINGERPRINT, [one for one, _ in pairs], "f_"),
        "f_investigation_id": [one.id for _, one in pairs],
        **_lists(("fingerprint", *_EVENT), events, "e_"),
        "e_received_at": [event.received_at or now for event in events],
        "e_digest": [event.digest and f"\\x{event.digest.hex()}" for event in events],
        "d_fingerprint": [of for of, _ in days],
        "d_day": [day for _, day in days],
        "d_events": [number for number, _ in days.values()],
        "d_last_occurred_at": [last for _, last in days.values()],
        **_quotas(used),
    }
    result = await connection.execute(_KEEP, _values(tenant, batch, now))
    assert result.rowcount == len(events)


async def use_quotas(
    connection: AsyncConnection, tenant: str, used: Mapping[str, int], now: datetime
) -> None:
    """Where no event is added."""
    await connection.execute(_USE_QUOTAS, _values(tenant, _quotas(used), now))


def minute_of(moment: datetime) -> datetime:
    """The one that quotas are of."""
    return moment.replace(second=0, microsecond=0)


def _quotas(used: Mapping[str, int]) -> dict[str, list[Any]]:
    return {"q_source": list(used), "q_used": list(used.values())}


def _lists(columns: Collection[str], rows: Sequence[Any], prefix: str) -> dict[str, list[Any]]:
    """These members of a batch, of objects that have attributes of these names."""
    return {f"{prefix}{name}": list(map(attrgetter(name), rows)) for name in columns}


def _values(tenant: str, batch: Mapping[str, list[Any]], now: datetime) -> dict[str, Any]:
    return {"tenant": tenant, "minute": minute_of(now), "batch": to_json(batch).decode()}
