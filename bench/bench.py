"""One run of the bench: its folder, its PostgreSQL and its databases, all of which are gone at its end."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from penstock.local import postgres
from penstock.local.postgres import LocalPostgres
from penstock.registry import MIGRATIONS
from shared.platform.database import migrate

TEMPLATE = "bench_template"


class NotMeasured(Exception):
    """A figure cannot be measured here, or what ran was not what it should measure. The others go on."""


@dataclass
class Bench:
    """What a measurement works with.

    Attributes:
        wanted: Names of the figures that were asked for.
        folder: For files; deleted with the bench.
        server: PostgreSQL as `penstock up` starts it.
        rows: Records of the usual file.
        rounds: How often each measurement is repeated; the median counts.
        large: Whether sizes that need many minutes and gigabytes are wanted.
    """

    wanted: frozenset[str]
    folder: Path
    server: LocalPostgres
    rows: int
    rounds: int
    large: bool
    _databases: Iterator[int] = field(default_factory=lambda: iter(range(1, sys.maxsize)))

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a migrated, empty database that exists as long as the block."""
        name = f"bench_{next(self._databases)}"
        execute(self.server.url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        try:
            yield self.server.url_of(name)
        finally:
            execute(self.server.url, f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def subfolder(self, name: str) -> Iterator[Path]:
        """A new folder that exists as long as the block."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        path.chmod(0o711)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def require_disk(self, bytes_needed: int) -> None:
        """Raises NotMeasured if the disk has no room for so much more."""
        free = shutil.disk_usage(self.folder).free
        if free < bytes_needed:
            raise NotMeasured(
                f"needs {bytes_needed / 1e9:.0f} GB of disk, {self.folder} has {free / 1e9:.0f}; "
                "set TMPDIR to a folder on a larger disk"
            )


@contextmanager
def opened(*, wanted: frozenset[str], rows: int, rounds: int, large: bool) -> Iterator[Bench]:
    """A bench with a folder and a PostgreSQL of its own."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-", dir=_disk()))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass
    try:
        server = postgres.start(folder)
        execute(server.url, f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE), MIGRATIONS)
        yield Bench(wanted, folder, server, rows, rounds, large)
    finally:
        if (folder / "postgres" / "postmaster.pid").exists():
            postgres.start(folder).stop()  # finds it even if the start was interrupted
        data = (folder / "postgres").resolve()  # of root, elsewhere if the folder is closed to the server
        for path in (data, folder):
            shutil.rmtree(path, ignore_errors=True)


def say(text: str) -> None:
    """Tell what goes on; standard output is for figures."""
    print(text, file=sys.stderr, flush=True)


def execute(url: str, *statements: str) -> None:
    """Run `statements`, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def value_of(url: str, query: str) -> Any:
    """The first value that `query` answers."""
    rows = rows_of(url, query)
    return rows[0][0] if rows else None


def rows_of(url: str, query: str) -> list[asyncpg.Record]:
    """What `query` answers."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(run())


def settle(url: str) -> None:
    """Leave nothing behind that would be done, and paid for, while the next measurement runs."""
    execute(url, "VACUUM (ANALYZE)", "CHECKPOINT")


def _disk() -> str | None:
    """A folder for gigabytes: /tmp is memory on some machines."""
    return None if os.environ.get("TMPDIR") or not Path("/var/tmp").is_dir() else "/var/tmp"  # noqa: S108 - mkdtemp is private
