"""Files of suppliers: one row for each, whatever told of it, in whatever order.

What several events say of one file is folded into its row by rules that give the same row in any order: it came when the
first of them says; how it went is what the last of them says, but one that knows goes before one that only saw it come.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.database import advisory_key

FileStatus = Literal["received", "good", "failed", "uncounted"]
FileOrigin = Literal["import", "event", "clickhouse"]

REMEMBERED = 5_000  # files that several events name, one soon after the other


@dataclass  # not frozen: that takes as long as all else that makes one
class SupplierFile:
    """What is said of a file. Nobody changes it.

    Attributes:
        id: `import:<import id>`, `event:<hash>` or `clickhouse:<supplier>:<day>`.
        occurred_at: When it came, as far as this tells.
        status: `good`: at least one record came through. `uncounted`: it is no file of its own: a dry run, a correction, or
            told of by an import as well.
        status_at: Since when status and stage are so.
        stage: Where it was then.
        size: Bytes.
        header: The column names as they came.
        rows: Data records.
        rejected: Those of them that have a row error.
        profile: `ColumnProfile` by column.
    """

    tenant: str
    id: str
    supplier: str
    origin: FileOrigin
    occurred_at: datetime
    status: FileStatus
    status_at: datetime
    stage: str | None = None
    import_id: UUID | None = None
    dataset: str | None = None
    path: str | None = None
    sha256: str | None = None
    size: int | None = None
    header: Sequence[str] | None = None
    rows: int | None = None
    rejected: int | None = None
    profile: Mapping[str, Any] | None = None


def event_file(
    *,
    tenant: str,
    supplier: str,
    stage: str,
    occurred_at: datetime,
    resolves: bool,
    severity: str,
    file: Mapping[str, Any],
    zone: ZoneInfo,
) -> SupplierFile:
    """The file that an event of a pipeline names.

    The same content on one day, or the same path where nothing tells the content, is one file. An error means that it
    failed; that all is well again, or a milder event that counts records, that records came through.

    Args:
        file: `path`, and as far as they are known `sha256`, `size` and `rows`.
        zone: Of the deployment's days.
    """
    rows, sha256 = file.get("rows"), file.get("sha256")
    return SupplierFile(
        tenant=tenant,
        id=_event_file_id(supplier, occurred_at.astimezone(zone).date(), sha256, file["path"]),
        supplier=supplier,
        origin="event",
        occurred_at=occurred_at,
        status=_status_told(rows, resolves=resolves, severity=severity),
        status_at=occurred_at,
        stage=stage,
        path=file["path"],
        sha256=sha256,
        size=file.get("size"),
        rows=rows,
    )


@lru_cache(maxsize=REMEMBERED)
def _event_file_id(supplier: str, day: date, sha256: str | None, path: str) -> str:
    told = json.dumps([supplier, day.isoformat(), sha256 or ["path", path]])
    return f"event:{hashlib.sha256(told.encode()).hexdigest()}"


def _status_told(rows: int | None, *, resolves: bool, severity: str) -> FileStatus:
    if not resolves and severity in {"error", "critical"}:
        return "failed"
    if rows is None:
        return "good" if resolves else "received"
    return "good" if rows else "failed"


# What knows more goes before what knows less, then what is later; the rest, so that there always is a winner.
_STANDING = """({0}.status = 'uncounted', {0}.status <> 'received', {0}.status_at, {0}.status,
    coalesce({0}.stage, '') COLLATE "C", coalesce({0}.path, '') COLLATE "C")"""
_IS_NEWER = f"{_STANDING.format('excluded')} > {_STANDING.format('f')}"

_NOTE = text(f"""
    INSERT INTO notifier.supplier_files AS f (tenant, id, supplier, day, occurred_at, origin, status, status_at, stage,
        import_id, dataset, path, sha256, size, header, rows, rejected, profile)
    SELECT r.tenant, r.id, r.supplier, r.day, r.occurred_at, r.origin,
        CASE WHEN r.origin = 'event' AND EXISTS (
            SELECT FROM notifier.supplier_files i
            WHERE i.tenant = r.tenant AND i.supplier = r.supplier AND i.sha256 = r.sha256 AND i.day = r.day
                AND i.origin = 'import' AND i.status <> 'uncounted'
        ) THEN 'uncounted' ELSE r.status END,
        r.status_at, r.stage, r.import_id, r.dataset, r.path, r.sha256, r.size, r.header, r.rows, r.rejected, r.profile
    FROM jsonb_to_recordset(CAST(:files AS jsonb)) AS r (tenant text, id text, supplier text, day date, occurred_at timestamptz,
        origin text, status text, status_at timestamptz, stage text, import_id uuid, dataset text, path text, sha256 text,
        size bigint, header jsonb, rows bigint, rejected bigint, profile jsonb)
    ORDER BY r.tenant, r.id
    ON CONFLICT (tenant, id) DO UPDATE SET
        day = CASE WHEN excluded.occurred_at < f.occurred_at THEN excluded.day ELSE f.day END,
        occurred_at = least(excluded.occurred_at, f.occurred_at),
        status = CASE WHEN {_IS_NEWER} THEN excluded.status ELSE f.status END,
        status_at = CASE WHEN {_IS_NEWER} THEN excluded.status_at ELSE f.status_at END,
        stage = CASE WHEN {_IS_NEWER} THEN excluded.stage ELSE f.stage END,
        path = CASE WHEN {_IS_NEWER} THEN excluded.path ELSE f.path END,
        dataset = coalesce(f.dataset, excluded.dataset),
        sha256 = coalesce(f.sha256, excluded.sha256),
        size = greatest(f.size, excluded.size),
        header = coalesce(f.header, excluded.header),
        rows = greatest(f.rows, excluded.rows),
        rejected = greatest(f.rejected, excluded.rejected),
        profile = coalesce(f.profile, excluded.profile)
""")  # noqa: S608 - text of this module

_ARE_IMPORTS = text("""
    WITH named AS (
        SELECT f.tenant, f.id FROM notifier.supplier_files f
        JOIN jsonb_to_recordset(CAST(:files AS jsonb)) AS r (tenant text, supplier text, sha256 text, day date)
            ON f.tenant = r.tenant AND f.supplier = r.supplier AND f.sha256 = r.sha256 AND f.day = r.day
        WHERE f.origin = 'event' AND f.status <> 'uncounted'
        ORDER BY f.tenant, f.id FOR UPDATE OF f
    )
    UPDATE notifier.supplier_files f SET status = 'uncounted' FROM named n WHERE f.tenant = n.tenant AND f.id = n.id
""")

# Who notes an import and who notes an event of the same content would not see each other's row, and count it twice. Locked
# after a tenant's investigations, never before these.
_ONE_AFTER_ANOTHER = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")


async def note_files(connection: AsyncConnection, files: Sequence[SupplierFile], *, zone: ZoneInfo) -> None:
    """Fold what is said of files into their rows, in one statement.

    A file that an event names and that is imported on the same day counts once, as the import.
    """
    await _one_after_another(connection, [file for file in files if file.origin == "event"])
    said: dict[tuple[str, str], SupplierFile] = {}
    for file in files:
        key = file.tenant, file.id
        before = said.get(key)
        said[key] = file if before is None else _together(before, file)
    if said:
        await connection.execute(_NOTE, {"files": _json(said.values(), zone)})


def _together(one: SupplierFile, other: SupplierFile) -> SupplierFile:
    """What two say of one file, by the rules of `_NOTE`."""
    came = min(one, other, key=attrgetter("occurred_at"))
    how = max(one, other, key=_standing)
    return replace(
        one,
        occurred_at=came.occurred_at,
        status=how.status,
        status_at=how.status_at,
        stage=how.stage,
        path=how.path,
        dataset=one.dataset if one.dataset is not None else other.dataset,
        sha256=one.sha256 if one.sha256 is not None else other.sha256,
        size=_larger(one.size, other.size),
        header=one.header if one.header is not None else other.header,
        rows=_larger(one.rows, other.rows),
        rejected=_larger(one.rejected, other.rejected),
        profile=one.profile if one.profile is not None else other.profile,
    )


def _larger(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _standing(file: SupplierFile) -> tuple[bool, bool, datetime, str, str, str]:
    """As `_STANDING`."""
    is_uncounted, knows_more = file.status == "uncounted", file.status != "received"
    return is_uncounted, knows_more, file.status_at, file.status, file.stage or "", file.path or ""


async def count_as_imports(
    connection: AsyncConnection, imports: Sequence[SupplierFile], *, zone: ZoneInfo
) -> None:
    """Do not count what events have named of these imports' content."""
    if imports:
        await _one_after_another(connection, imports)
        await connection.execute(_ARE_IMPORTS, {"files": _json(imports, zone)})


async def _one_after_another(connection: AsyncConnection, files: Iterable[SupplierFile]) -> None:
    """Let nobody else of these tenants look for the same content until the transaction ends, which is soon."""
    tenants = {file.tenant for file in files if file.sha256 is not None}
    if tenants:
        keys = sorted(advisory_key(f"penstock:supplier-files:{tenant}") for tenant in tenants)
        await connection.execute(_ONE_AFTER_ANOTHER, {"keys": keys})


def _json(files: Iterable[SupplierFile], zone: ZoneInfo) -> str:
    rows = [{**vars(file), "day": file.occurred_at.astimezone(zone).date()} for file in files]
    return to_json(rows).decode()
