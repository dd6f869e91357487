"""An upgrade while files come in: the version before on the new schema, the new version on the old one.

The version before is the newest commit that lacks a migration which is here. Its code runs in processes of its own.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from penstock.registry import MIGRATIONS
from shared.platform.database import PLATFORM, migrate_async
from shared.platform.migrated import states
from tests.conftest import new_database
from tests.e2e.stack import ROOT, Stack, free_port, until

PATHS = [str(each.versions.relative_to(ROOT)) for each in (PLATFORM, *MIGRATIONS)]
BOOKS = "title,author,isbn,publication_year\n" + "".join(
    f"Book {number},A. Uthor,{isbn},1999\n"
    for number, isbn in enumerate(("978-3-522-17750-4", "0-306-40615-2"))
)


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_before() -> str:
    """The newest commit that lacks a migration which is here.

    Raises:
        CalledProcessError, OSError: there is no history.
    """
    changed = git("status", "--porcelain", "--", *PATHS).splitlines()
    if any(line.lstrip().startswith(("?", "A")) for line in changed):
        return git("rev-parse", "HEAD")
    return git("rev-parse", git("log", "-1", "--diff-filter=A", "--format=%H", "--", *PATHS) + "^")


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """The code of the version before."""
    folder = tmp_path_factory.mktemp("before")
    try:
        commit = commit_before()
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True
        ).stdout
    except (subprocess.CalledProcessError, OSError) as error:
        missing = pytest.fail if os.environ.get("PENSTOCK_TEST_DEPLOY") == "yes" else pytest.skip
        missing(f"needs the history of this repository: {error}")
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


class OldStack(Stack):
    """All services of the version before in one process."""

    code: Path

    def _command(self, name: str) -> list[str]:
        return [str(self.code / "tests/e2e/serve_all.py")]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"PYTHONPATH": str(self.code)}


@pytest.fixture
async def empty_database(postgres_url):
    async with new_database(postgres_url, "template0") as url:
        yield url


@pytest.fixture
async def old(before, empty_database, tmp_path):
    """The version before, on a database of its own making."""
    stack = OldStack(tmp_path, empty_database, None)
    stack.code = before
    command = [sys.executable, "-m", "penstock", "migrate"]
    await asyncio.to_thread(subprocess.run, command, cwd=before, env=stack._environment(), check=True)
    try:
        yield await stack.started()
    finally:
        await stack.close()


@pytest.fixture
async def new(old, tmp_path):
    """The new `results`, beside it on the same database; not started yet."""
    stack = Stack(tmp_path, old.database_url, None)
    stack.ports = {"new results": free_port()}
    stack._command = lambda _: ["-m", "penstock", "serve", "results", "--port"]
    yield stack
    await stack.close()


class Load:
    """Files that come in and lists that are read, without a pause. What fails is in `failures`."""

    def __init__(self, stack, folder):
        self.imports, self.answers, self.failures = [], 0, []
        self._stack, self._stop = stack, asyncio.Event()
        self._file = folder / "books.csv"
        self._file.write_text(BOOKS)
        self._tasks = [
            asyncio.create_task(self._go(each)) for each in (self._upload, self._list, self._patch)
        ]

    async def _go(self, step):
        while not self._stop.is_set():
            try:
                await step()
                self.answers += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody's request failed
                self.failures.append(repr(error))
            await asyncio.sleep(0.02)

    async def _upload(self):
        self.imports.append((await self._stack.upload(self._file, "books", force="true"))["id"])

    async def _list(self):
        for path in ("/imports", "/records/books", "/investigations", "/webhooks"):
            (await self._stack.http.get(self._stack.url(path))).raise_for_status()

    async def _patch(self):
        if self.imports:
            path = self._stack.url("/records/books/9780306406157")
            answer = await self._stack.http.patch(path, json={"title": f"Edition {self.answers}"})
            if answer.status_code != 404:  # it is not there yet
                answer.raise_for_status()

    async def goes_on(self, more):
        """Until so many further requests were answered."""
        wanted = self.answers + more

        async def answered():
            return self.answers >= wanted

        await until(answered, 60, what=lambda: str(self.failures))

    async def end(self):
        self._stop.set()
        await asyncio.gather(*self._tasks)


async def checks_of(stack):
    """What the readiness of the new results says: its status, and its checks by name."""
    answer = await stack.http.get(f"{stack.base('new results')}/health/ready")
    return answer.status_code, {each["name"]: each for each in answer.json()["services"]["results"]}


async def test_both_versions_run_before_during_and_after_the_migration(old, new, tmp_path):
    pending = [each for state in await states(old.database_url, MIGRATIONS) for each in state.pending]
    assert pending
    load = Load(old, tmp_path)
    try:
        new.start()

        async def waits():
            with suppress(httpx.TransportError):
                return (await checks_of(new))[0] == 503

        await until(waits, 60, what=lambda: new.log("new results"))
        _, checks = await checks_of(new)
        assert set(checks) == {"schema"}
        assert any(revision in checks["schema"]["detail"] for revision in pending)
        refused = await new.http.get(f"{new.base('new results')}/api/v1/imports")
        assert refused.status_code == 503
        await load.goes_on(10)
        await migrate_async(old.database_url, MIGRATIONS)
        await new.ready("new results")
        await load.goes_on(20)
        shown = await new.http.get(f"{new.base('new results')}/api/v1/imports/{load.imports[0]}")
        assert shown.status_code == 200, shown.text
    finally:
        await load.end()
    assert load.failures == []
    for import_id in load.imports:
        done = await old.finished(import_id)
        assert (done["status"], done["rows_processed"]) == ("completed", 2), done
