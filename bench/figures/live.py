"""Live progress: for how long a listener hears nothing while an import runs, one of a thousand and one alone."""

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Thread
from urllib.parse import urlsplit

from bench import files
from bench.bench import Bench, NotMeasured, say
from bench.registry import measures
from bench.report import Figure
from bench.running import Penstock, bench_token, penstock_apart

LISTENERS = 1000
DESCRIPTORS = 2 * LISTENERS + 200
CONNECT_SECONDS = 60.0


@measures("live_silence")
def live_silence(bench: Bench) -> Iterator[Figure]:
    """Seconds: the longest silence of any of a thousand listeners, from an import's first sign to its end."""
    _allow_descriptors()
    found: dict[int, list[float]] = {1: [], LISTENERS: []}
    with bench.subfolder("live") as folder:
        file = files.products(folder / "products.csv", bench.rows)
        with bench.database() as url, penstock_apart(bench, url) as penstock:
            for number in range(bench.rounds):
                for listeners, silences in found.items():
                    silences.append(
                        _silence(penstock, file, bench.rows, listeners, f"live-{number}-{listeners}")
                    )
                    say(f"{listeners} listeners: longest silence {silences[-1]:.2f} s")
    alone, together = median(found[1]), median(found[LISTENERS])
    detail = {"rows": bench.rows, "rounds": found[LISTENERS], "baseline_rounds": found[1]}
    yield Figure("live_silence", together, "s", alone, "value <= 1.0", detail)


def _allow_descriptors() -> None:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise NotMeasured(f"needs {DESCRIPTORS} open files; `ulimit -Hn` allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))


def _silence(penstock: Penstock, file: Path, rows: int, listeners: int, tenant: str) -> float:
    with _listening(penstock.results_url, tenant, listeners) as heard:
        penstock.import_file(file, {"rows_inserted": rows}, tenant=tenant)
    if min(map(len, heard)) < 2:
        raise NotMeasured(f"the import of {rows} records was over before every listener was told of it twice")
    return max(later - earlier for times in heard for earlier, later in pairwise(times))


@contextmanager
def _listening(url: str, tenant: str, listeners: int) -> Iterator[list[list[float]]]:
    """When each listener was told something; whole at the end of the block, which must be behind the import's."""
    heard: list[list[float]] = [[] for _ in range(listeners)]
    connected = [False] * listeners
    address, token = urlsplit(url), bench_token(tenant)

    async def listen(number: int) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"GET /api/v1/imports/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        with closing(writer):
            writer.write(head.encode())
            while line := await reader.readline():
                connected[number] |= line.startswith(b"id:")
                if line.startswith((b"data:", b":")) and (heard[number] or b'"processing"' in line):
                    heard[number].append(time.monotonic())
                if b'"status":"completed"' in line:
                    return

    async def listen_all() -> None:
        await asyncio.gather(*map(listen, range(listeners)))

    thread = Thread(target=asyncio.run, args=[listen_all()], daemon=True)
    thread.start()
    deadline = time.monotonic() + CONNECT_SECONDS
    while not all(connected):
        if time.monotonic() > deadline:
            raise NotMeasured(f"{connected.count(False)} of {listeners} listeners were not connected")
        time.sleep(0.1)
    yield heard
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise NotMeasured("not every listener has heard of the import's end")
