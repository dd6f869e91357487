"""`penstock tenant export`: all that there is of a tenant as one TAR: rows as NDJSON, receipts as they are served, files.

One snapshot of the database, whatever happens meanwhile. No secret and no hash of one leaves it.
"""

import asyncio
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from penstock.tenant_data import Holding, holdings, values_for
from shared.platform.database import async_url
from shared.platform.objects import CHUNK_BYTES, ObjectMissing, Objects

FORMAT = 1  # of the archive, as its manifest says
ROWS_AT_ONCE = 500
SPOOLED_BYTES = 8 * 1024**2  # in memory; larger members go by way of a file beside the archive

# What opens something, or is made of what does. Their other columns are exported; of whole tables nothing is.
SECRET_TABLES = frozenset({"notifier.retired_secrets", "auth.sessions"})
SECRET_COLUMNS = {
    "notifier.endpoints": {"secret", "private_key", "headers"},
    "upload.idempotency_keys": {"key", "fingerprint"},
}
# Bytes are hashes, unless they are one of these: what was told, in UTF-8; or as it came, as `encode(…, 'escape')` writes it.
BODIES = {
    "notifier.messages": {"body": "convert_from({}, 'UTF8')"},
    "notifier.deliveries": {"body": "convert_from({}, 'UTF8')"},
    "bus.outbox": {"payload": "encode({}, 'escape')"},
    "bus.dead_letters": {"payload": "encode({}, 'escape')"},
}

_COLUMNS = text("""
    SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
    WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
""")
_RECEIPTS = text("SELECT document::text FROM processor.receipts_v1 WHERE tenant = :tenant ORDER BY import_id")
_FILES = text("""
    SELECT import_id, file_name, object_key, file_size FROM upload.imports
    WHERE tenant = :tenant AND file_removed_at IS NULL ORDER BY import_id
""")
_ERROR_FILES = text("""
    SELECT e.import_id, e.object_key, e.size FROM processor.error_files e JOIN processor.imports i USING (import_id)
    WHERE i.tenant = :tenant ORDER BY e.import_id, e.part
""")


@dataclass(frozen=True)
class Member:
    """A file of the archive. `rows`: lines of it, where each is a row; `file_name`: as it was called by who sent it."""

    name: str
    size: int
    sha256: str
    rows: int | None = None
    import_id: str | None = None
    file_name: str | None = None


@dataclass
class Manifest:
    """What the archive has. `missing`: files that should be in the store and are not, or not whole."""

    tenant: str
    exported_at: str
    penstock: str = field(default_factory=lambda: version("penstock"))
    format: int = FORMAT
    members: list[Member] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class _File(NamedTuple):
    """A file in the store: objects and their sizes in bytes, one after the other."""

    name: str
    parts: Sequence[tuple[str, int]]
    import_id: UUID
    file_name: str | None = None


Sign = Callable[[dict[str, Any]], dict[str, Any]]


def export_tenant(database_url: str, store_url: str, tenant: str, out: Path, sign: Sign) -> Manifest:
    """Write the archive; `out` is there when it is whole. `sign` makes a receipt what it is served as.

    Raises:
        TableUnknown: there is a table that this version knows nothing of.
        StoreUnavailable: the store does not answer.
        OSError: the archive cannot be written.
    """
    part = out.with_name(out.name + ".part")
    try:
        with _archive(part) as archive:
            manifest = asyncio.run(_export(database_url, Objects(store_url), tenant, archive, sign))
            _add(archive, "manifest.json", json.dumps(asdict(manifest), indent=2).encode())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return manifest


@contextmanager
def _archive(path: Path) -> Iterator[tarfile.TarFile]:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)  # it is somebody's data
    with tarfile.open(path, "w") as archive:
        yield archive


async def _export(
    database_url: str, objects: Objects, tenant: str, archive: tarfile.TarFile, sign: Sign
) -> Manifest:
    engine = create_async_engine(async_url(database_url), poolclass=NullPool, hide_parameters=True)
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    try:
        async with snapshot.connect() as connection:
            moment = (await connection.execute(text("SELECT now()"))).scalar_one()
            manifest = Manifest(tenant, moment.astimezone(UTC).isoformat())
            for holding in sorted(await holdings(connection), key=lambda each: each.table):
                if holding.table not in SECRET_TABLES:
                    lines = _rows(connection, holding, tenant)
                    await _add_lines(archive, manifest, f"tables/{holding.table}.ndjson", lines)
            await _add_lines(archive, manifest, "receipts.ndjson", _receipts(connection, tenant, sign))
            files = (await connection.execute(_FILES, {"tenant": tenant})).all()
            error_files = (await connection.execute(_ERROR_FILES, {"tenant": tenant})).all()
    finally:
        await engine.dispose()
    for row in files:
        parts = [(row.object_key, row.file_size)]
        file = _File(f"files/{row.import_id}", parts, row.import_id, row.file_name)
        await _add_file(archive, manifest, objects, file)
    for import_id, rows in groupby(error_files, lambda row: row.import_id):
        parts = [(row.object_key, row.size) for row in rows]
        await _add_file(archive, manifest, objects, _File(f"error-files/{import_id}.csv", parts, import_id))
    return manifest


async def _rows(connection: AsyncConnection, holding: Holding, tenant: str) -> AsyncIterator[str]:
    columns = (await connection.execute(_COLUMNS, {"table": holding.table})).all()
    shown = [shown for column in columns if (shown := _shown(holding.table, column.name, column.type))]
    query = text(f"""
        SELECT to_json(r)::text FROM (SELECT {", ".join(shown)} FROM {holding.table} WHERE {holding.condition}) AS r
    """)
    async with connection.stream(
        query, values_for(holding, tenant), execution_options={"yield_per": ROWS_AT_ONCE}
    ) as found:
        async for row in found:
            yield row[0]


def _shown(table: str, column: str, kind: str) -> str | None:
    """How a column is exported; None: it is not."""
    quoted = f'"{column}"'
    if column in SECRET_COLUMNS.get(table, ()):
        return None
    if kind == "bytea":
        body = BODIES.get(table, {}).get(column)
        return body and f"{body.format(quoted)} AS {quoted}"
    # `json` keeps line ends, of which NDJSON has one a row.
    return f"{quoted}::jsonb AS {quoted}" if kind == "json" else quoted


async def _receipts(connection: AsyncConnection, tenant: str, sign: Sign) -> AsyncIterator[str]:
    async with connection.stream(
        _RECEIPTS, {"tenant": tenant}, execution_options={"yield_per": ROWS_AT_ONCE}
    ) as found:
        async for row in found:
            yield json.dumps(sign(json.loads(row[0])), ensure_ascii=False)


async def _add_lines(
    archive: tarfile.TarFile, manifest: Manifest, name: str, lines: AsyncIterator[str]
) -> None:
    """A member with a line each; none if there are none."""
    rows = 0
    with _spool(archive) as spool:
        async for line in lines:
            spool.write(line.encode() + b"\n")
            rows += 1
        if rows:
            manifest.members.append(_add_spooled(archive, name, spool, rows=rows))


async def _add_file(archive: tarfile.TarFile, manifest: Manifest, objects: Objects, file: _File) -> None:
    """A member of the file's parts, one after the other; one that is not in the store, or not whole, is `missing`."""
    with _spool(archive) as spool:
        try:
            for key, size in file.parts:
                await _copy(objects, key, size, spool)
        except ObjectMissing:
            manifest.missing.append(file.name)
            return
        added = _add_spooled(
            archive, file.name, spool, import_id=str(file.import_id), file_name=file.file_name
        )
        manifest.members.append(added)


async def _copy(objects: Objects, key: str, size: int, spool: IO[bytes]) -> None:
    for start in range(0, size, CHUNK_BYTES):
        length = min(CHUNK_BYTES, size - start)
        if spool.write(await objects.read(key, start, length)) < length:
            raise ObjectMissing(f"object {key!r} ends before its {size} bytes")


def _spool(archive: tarfile.TarFile) -> Any:
    return tempfile.SpooledTemporaryFile(SPOOLED_BYTES, dir=str(Path(str(archive.name)).parent))


def _add_spooled(archive: tarfile.TarFile, name: str, spool: IO[bytes], **known: Any) -> Member:
    size = spool.tell()
    spool.seek(0)
    digest = hashlib.file_digest(spool, "sha256").hexdigest()  # type: ignore[arg-type]  # it reads into a buffer
    spool.seek(0)
    archive.addfile(_info(name, size), spool)
    return Member(name, size, digest, **known)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_info(name, len(content)), io.BytesIO(content))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
    return info
