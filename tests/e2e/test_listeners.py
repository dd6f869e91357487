"""A thousand listeners on two `results` processes, while an import runs."""

import asyncio
import re
import resource
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from penstock.rebuilding import rebuild_results
from tests.e2e.stack import Stack, free_port, token

LISTENERS = 1000
DESCRIPTORS = 2 * LISTENERS + 200
ROWS = 250_000
MEMORY = 400 * 1024**2  # of a process with all four services, which takes 250 MB without listeners
STATE = re.compile(rb'"id":"([0-9a-f-]+)".*"status":"(\w+)".*"run":(\d+),.*"rows_processed":(\d+)')
ENDED = (b"completed", b"failed", b"cancelled")
PHASES = {b"pending": 0, b"processing": 1} | dict.fromkeys(ENDED, 2)


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"needs {DESCRIPTORS} open files; `ulimit -Hn` allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def stack(database_url, tmp_path, many_descriptors):
    """All four services, twice."""
    running = Stack(tmp_path, database_url, None, {"PENSTOCK_SLICE_BYTES": str(2 * 1024**2)})
    running.ports["other"] = free_port()
    yield await running.started()
    await running.close()


@dataclass
class Listener:
    """What one connection was told: how the import stood, and how often there was a sign of life."""

    is_connected: bool = False
    states: list[tuple[int, int, int]] = field(default_factory=list)
    imports: set[bytes] = field(default_factory=set)
    signs: int = 0
    has_seen_the_end: bool = False

    async def listen(self, port: int, path: str, tenant: str = "acme") -> None:
        """Until the import has ended, as far as this listener knows."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(tenant)}\r\n\r\n"
        with closing(writer):
            writer.write(head.encode())
            while not self.has_seen_the_end and (line := await reader.readline()):
                self.is_connected |= line.startswith(b"id:")
                if line.startswith(b"data:"):
                    self.hear(line)
                if self.states and line.startswith((b"data:", b":")):
                    self.signs += 1

    def hear(self, line: bytes) -> None:
        found = STATE.search(line)
        assert found, line
        about, status, run, rows = found.groups()
        self.imports.add(about)
        self.states.append((int(run), PHASES[status], int(rows)))
        self.has_seen_the_end = status in ENDED


def a_file(tmp_path):
    file = tmp_path / "books.csv"
    lines = (f"Momo {n},Michael Ende,{isbn13(n)},1973" for n in range(ROWS))
    file.write_text("title,author,isbn,publication_year\n" + "\n".join(lines))
    return file


def isbn13(number: int) -> str:
    digits = f"978{number:09}"
    check = -sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10
    return f"{digits}{check}"


async def test_a_thousand_listeners_while_an_import_runs(stack, tmp_path):
    """Half of them listen to all imports of their tenant, the others to this one."""
    file = a_file(tmp_path)
    listeners = [Listener() for _ in range(LISTENERS)]
    to_all, to_one = listeners[: LISTENERS // 2], listeners[LISTENERS // 2 :]
    stranger = Listener()
    async with asyncio.timeout(100), asyncio.TaskGroup() as following:
        apart = following.create_task(stranger.listen(stack.ports["all"], "/imports/events", "stranger"))
        follow(following, stack, to_all, "/imports/events")
        await until(to_all, lambda each: each.is_connected)
        uploaded = await stack.upload(file, "books")
        follow(following, stack, to_one, f"/imports/{uploaded['id']}/events")
        await until(listeners, lambda each: each.states)
        rebuilt = await asyncio.to_thread(rebuild_results, stack.database_url, None)
        await until(listeners, lambda each: each.has_seen_the_end)
        apart.cancel()

    assert rebuilt.imports == 1
    for each in listeners:
        assert each.imports == {uploaded["id"].encode()}
        assert each.states == sorted(each.states), "never backwards"
    # For how long one hears nothing is measured by `make bench ONLY=live_silence`; here, that nobody is left behind.
    signs = [each.signs for each in listeners]
    assert min(signs) > max(signs) / 4
    assert stranger.is_connected
    assert stranger.imports == set()
    assert all(stack.peak_memory(name) < MEMORY for name in stack.names)
    final = await stack.finished(uploaded["id"])
    assert (final["status"], final["rows_inserted"]) == ("completed", ROWS)
    await assert_rebuilt_is_the_same(stack)


def follow(group, stack, listeners, path):
    for number, each in enumerate(listeners):
        port = list(stack.ports.values())[number % 2]
        group.create_task(each.listen(port, path))


async def until(listeners, holds):
    while not all(holds(each) for each in listeners):
        await asyncio.sleep(0.05)


async def assert_rebuilt_is_the_same(stack):
    async def read_model():
        rows = await stack.rows(
            "SELECT to_jsonb(i) - 'changed_at' - 'progressed_at' AS row FROM results.imports i"
        )
        return sorted(row["row"] for row in rows)

    built = await read_model()
    await stack.rows("DELETE FROM results.imports")
    await asyncio.to_thread(rebuild_results, stack.database_url, None)
    assert await read_model() == built
