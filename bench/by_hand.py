r"""What a database administrator does by hand: `psql \copy` into a temporary table, and one MERGE.

The target is a copy of Penstock's own table, with the same indexes, constraints and storage parameters. It is strict
against us: provenance (`import_id`, `row_number`) stays empty, nothing is checked, and nothing counted.
"""

import asyncio
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import asyncpg

from bench.bench import NotMeasured, execute, value_of
from bench.running import TENANT
from penstock.local.account import Account
from penstock.local.postgres_programs import programs_for
from penstock.local.processes import LocalServerError

TABLE = "by_hand.products"
_STAGE = "CREATE TEMP TABLE stage (sku text, name text, description text)"
_COPY_OPTIONS = "WITH (FORMAT csv, HEADER true)"
_UPDATE = "UPDATE SET sku = s.sku, name = s.name, description = s.description, updated_at = now()"
_MERGE = f"""
    MERGE INTO {TABLE} t USING stage s ON t.tenant = '{TENANT}' AND t.key = lower(s.sku)
    WHEN MATCHED {{guard}} THEN {_UPDATE}
    WHEN NOT MATCHED THEN INSERT (tenant, key, sku, name, description)
        VALUES ('{TENANT}', lower(s.sku), s.sku, s.name, s.description)
"""
_GUARD = "AND (t.sku, t.name, t.description) IS DISTINCT FROM (s.sku, s.name, s.description)"


def create_table(url: str) -> None:
    """Make the copy of Penstock's table, empty."""
    execute(
        url,
        "CREATE SCHEMA by_hand",
        f"CREATE TABLE {TABLE} (LIKE data.products INCLUDING ALL)",
    )
    options = value_of(
        url, "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = 'data.products'::regclass"
    )
    if options:
        execute(url, f"ALTER TABLE {TABLE} SET ({options})")


def load(url: str, file: Path, *, only_changed: bool = False) -> float:
    """Seconds to copy `file` and merge it; `only_changed` spares rows that stay the same."""
    merge = _MERGE.format(guard=_GUARD if only_changed else "")
    began = time.perf_counter()
    if psql() is None:
        asyncio.run(_load_with_asyncpg(url, file, merge))
    else:
        _load_with_psql(url, file, merge)
    return time.perf_counter() - began


def count(url: str) -> int:
    """Rows of the table."""
    return int(value_of(url, f"SELECT count(*) FROM {TABLE}"))


@cache
def psql() -> Path | None:
    """The program from PostgreSQL's wheel, else the machine's own, else None."""
    try:
        bundled = programs_for(Account()) / "psql"
    except LocalServerError:
        bundled = Path("/nonexistent")
    if bundled.exists():
        return bundled
    found = shutil.which("psql")
    return Path(found) if found else None


def tool() -> str:
    """What copies and merges, for the record."""
    return "psql" if psql() else "asyncpg (there is no psql here)"


def _load_with_psql(url: str, file: Path, merge: str) -> None:
    quoted = str(file).replace("'", "''")
    script = f"{_STAGE};\n\\copy stage FROM '{quoted}' {_COPY_OPTIONS}\n{merge};\n"
    command = [str(psql()), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={url}", "--file=-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)  # noqa: S603 - psql itself
    if done.returncode != 0:
        raise NotMeasured(f"psql failed: {done.stderr.strip()}")


async def _load_with_asyncpg(url: str, file: Path, merge: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_STAGE)
        await connection.copy_to_table("stage", source=file, format="csv", header=True)
        await connection.execute(merge, timeout=None)
    finally:
        await connection.close()
