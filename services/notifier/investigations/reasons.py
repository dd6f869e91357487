"""The reasons of a tenant's errors: those that are known everywhere, what events brought, and what people say of both."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ARRAY, Row, Text, bindparam, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.catalogue import CATALOGUE
from services.notifier.tables import reasons
from shared.contracts.problems import NotFound

DAYS = 30  # of which errors are counted, today the last one

_LISTED = text("""
    SELECT * FROM (
        SELECT coalesce(r.code, k.code) AS code, coalesce(r.title, k.title) AS title,
            coalesce(r.description, k.description) AS description, coalesce(r.reviewed, true) AS reviewed,
            k.code IS NOT NULL AS known, r.first_seen
        FROM unnest(:codes, :titles, :descriptions) AS k (code, title, description)
            FULL JOIN (SELECT * FROM notifier.reasons WHERE tenant = :tenant) r ON r.code = k.code
    ) listed
    WHERE (CAST(:code AS text) IS NULL OR code = :code)
        AND (CAST(:reviewed AS boolean) IS NULL OR reviewed = :reviewed)
        AND (CAST(:after AS text) IS NULL OR code > :after)
    ORDER BY code LIMIT :limit
""").bindparams(*(bindparam(name, type_=ARRAY(Text())) for name in ("codes", "titles", "descriptions")))

# By fingerprint first: there are far fewer of these than days.
_COUNTED = text("""
    SELECT f.reason, min(f.first_seen) AS first_seen, coalesce(sum(d.events), 0)::bigint AS events
    FROM notifier.fingerprints f LEFT JOIN (
        SELECT fingerprint_id, sum(events) AS events FROM notifier.event_days
        WHERE tenant = :tenant AND day >= :since GROUP BY 1
    ) d ON d.fingerprint_id = f.id
    WHERE f.tenant = :tenant AND f.reason = ANY (:codes) GROUP BY f.reason
""").bindparams(bindparam("codes", type_=ARRAY(Text())))

_KNOWN = {
    "codes": list(CATALOGUE),
    "titles": [known.title for known in CATALOGUE.values()],
    "descriptions": [known.description for known in CATALOGUE.values()],
}


async def list_reasons(
    connection: AsyncConnection,
    tenant: str,
    *,
    reviewed: bool | None = None,
    code: str | None = None,
    after: str | None = None,
    limit: int,
) -> Sequence[Row[Any]]:
    """The reasons by code, behind `after`, at most `limit`."""
    wanted = {"tenant": tenant, "reviewed": reviewed, "code": code, "after": after, "limit": limit}
    return (await connection.execute(_LISTED, {**_KNOWN, **wanted})).all()


async def counts_of(
    connection: AsyncConnection, tenant: str, codes: Sequence[str], today: date
) -> dict[str, Row[Any]]:
    """By code the first error ever, and how many there were in the last 30 days; without any, none."""
    since = today - timedelta(days=DAYS - 1)
    parameters = {"tenant": tenant, "codes": list(codes), "since": since}
    return {row.reason: row for row in await connection.execute(_COUNTED, parameters)}


async def change_reason(
    connection: AsyncConnection, tenant: str, code: str, changes: Mapping[str, Any]
) -> None:
    """Give a reason other texts, or say that it is reviewed; a text of None is again what is known everywhere.

    Raises:
        NotFound: `reason_not_found`.
    """
    if not await list_reasons(connection, tenant, code=code, limit=1):
        raise NotFound(
            "reason_not_found",
            f"no error has had the reason {code!r}, and it is none that is known everywhere",
            hint="`GET /api/v1/investigation-reasons` lists those that there are",
        )
    values = {"reviewed": code in CATALOGUE, **changes}
    statement = insert(reasons).values(tenant=tenant, code=code, **values)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "code"], set_={**changes, "updated_at": func.now()}
    )
    await connection.execute(statement)
