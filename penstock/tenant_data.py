"""Where a tenant's data are: every table of the database, and by what its rows say whose they are.

A table that is not here, and has no column `tenant`, ends the command before anything is done; a test finds it earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.registry import MIGRATIONS

SCHEMAS = ("bus", "auth", *(schema for migrations in MIGRATIONS for schema in migrations.schemas))

_OF_IMPORT = "import_id IN (SELECT import_id FROM processor.imports WHERE tenant = :tenant)"
_UPLOADED = "import_id IN (SELECT import_id FROM upload.imports WHERE tenant = :tenant)"
_OF_UPLOAD = "{} IN (SELECT id FROM upload.tus_uploads WHERE tenant = :tenant)"
_OF_DELIVERY = "delivery_id IN (SELECT id FROM notifier.deliveries WHERE tenant = :tenant)"
# An envelope says its tenant, as JSON without blanks (shared.contracts.events).
_IN_BODY = "position(convert_to(:mark, 'UTF8') IN payload) > 0"

# Of tables without a column `tenant`: which rows are the tenant's. Those that tell it must be there still.
HOLDINGS: Mapping[str, str] = {
    "bus.dead_letters": _IN_BODY,
    "bus.outbox": _IN_BODY,
    "notifier.attempts": _OF_DELIVERY,
    "processor.changes": _OF_IMPORT,
    "processor.duplicates": _OF_IMPORT,
    "processor.early_cancels": _UPLOADED,
    "processor.error_counts": _OF_IMPORT,
    "processor.error_files": _OF_IMPORT,
    "processor.refused_lines": _OF_IMPORT,
    "processor.resent": _OF_IMPORT,
    "processor.slice_starts": _OF_IMPORT,
    "upload.tus_concatenations": _OF_UPLOAD.format("final_id"),
    "upload.tus_parts": _OF_UPLOAD.format("upload_id"),
}
# What says nothing of anybody: revisions, ids of events that were handled, files that no import has any more.
NOBODYS = frozenset({"alembic_version", "inbox", "doomed_files"})
# An import that upload alone knows of has not ended. So one that is deleted by half must be the processor's.
_UPLOADS_FIRST = ("upload.imports", "processor.imports")

_TABLES = text("""
    SELECT n.nspname || '.' || c.relname AS name, EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant' AND NOT attisdropped
    ) AS with_tenant
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND NOT (n.nspname = 'processor' AND c.relname ~ '^stage_[0-9a-f]{32}$')
    ORDER BY 1
""")
_REFERENCES = text("""
    SELECT DISTINCT fn.nspname || '.' || f.relname AS referring, tn.nspname || '.' || t.relname AS referred
    FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
    JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE k.contype = 'f' AND fn.nspname = ANY(:schemas)
""")


class TableUnknown(RuntimeError):
    """A table has no column `tenant`, and nobody has said whose its rows are. Nothing was done."""


@dataclass(frozen=True)
class Holding:
    """A table that has rows of tenants. `condition` is SQL with the parameters of `values_for`."""

    table: str
    condition: str


async def holdings(connection: AsyncConnection) -> Sequence[Holding]:
    """Every table that may have rows of a tenant, in the order in which they can be deleted: those that refer to others before these.

    Raises:
        TableUnknown: there is one of which nothing is known.
    """
    rows = (await connection.execute(_TABLES, {"schemas": list(SCHEMAS)})).all()
    unknown = [
        row.name
        for row in rows
        if not row.with_tenant and row.name not in HOLDINGS and row.name.partition(".")[2] not in NOBODYS
    ]
    if unknown:
        raise TableUnknown(
            f"it is not known whose the rows of {', '.join(unknown)} are (penstock/tenant_data.py)"
        )
    with_tenant = {row.name for row in rows if row.with_tenant}
    order: dict[str, set[str]] = {name: set() for name in sorted(with_tenant)}
    references = await connection.execute(_REFERENCES, {"schemas": list(SCHEMAS)})
    for referring, referred in [*references, _UPLOADS_FIRST]:
        if referred != referring and {referred, referring} <= with_tenant:
            order[referred].add(referring)
    theirs = [Holding(name, "tenant = :tenant") for name in TopologicalSorter(order).static_order()]
    there = {row.name for row in rows}
    return [*(Holding(name, how) for name, how in HOLDINGS.items() if name in there), *theirs]


def values_for(holding: Holding, tenant: str) -> dict[str, str]:
    """The parameters of a holding's condition."""
    if ":mark" in holding.condition:
        return {"mark": f'"tenant":{to_json(tenant).decode()}'}
    return {"tenant": tenant}


async def count(connection: AsyncConnection, holding: Holding, tenant: str) -> int:
    """How many rows of the tenant it has."""
    counted = text(f"SELECT count(*) FROM {holding.table} WHERE {holding.condition}")
    return int((await connection.execute(counted, values_for(holding, tenant))).scalar_one())
