"""What a million records, and a million deliveries, cost every process: the figures that deploy/SCALING.md reckons with.

What work of two sizes costs makes a model: so much a piece, so much for each of its contents. It is then held against what
ten and a hundred times as much work costs, which it has not seen.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from bench import files
from bench.bench import Bench, say, settle
from bench.costs import Costs, Meter, Model, Work, fitted, median_costs
from bench.registry import measures
from bench.report import Figure
from bench.running import Cluster, cluster
from bench.webhooks import Webhooks, import_completed, webhooks

SMALL_IMPORTS, SMALL_ROWS = 50, 100
CHECKED_SHARE = 0.1  # of the usual file: the model is checked against that, and against all of it
DELIVERIES = 50_000  # or fewer, where the usual file is not that long
ENDPOINTS = 5  # that are told of each event where the model is checked
FITTED_ENDPOINTS = 20
AT_ONCE = 50  # events of a transaction
MILLION = 1_000_000
CHECKED = ("cpu", "wal_bytes", "table_bytes", "index_bytes", "broker_published")

Do = Callable[[], object]


@measures("cost_import")
def cost_import(bench: Bench) -> Iterator[Figure]:
    """CPU seconds of all processes for a million records in one file, beside what the model says."""
    with (
        bench.database() as url,
        cluster(bench, url) as running,
        bench.subfolder("costs") as folder,
    ):
        importing = _Importing(running, folder)
        importing.do(Work(4, 4 * SMALL_ROWS))()
        works = {
            "pieces": Work(SMALL_IMPORTS, SMALL_IMPORTS * SMALL_ROWS),
            "contents": Work(1, max(SMALL_ROWS + 1, bench.rows // 5)),
            "1x": Work(1, max(1, round(bench.rows * CHECKED_SHARE))),
            "10x": Work(1, bench.rows),
        }
        yield _figure(bench, "cost_import", works, importing.do, Meter(running, bench.server, url))


@measures("cost_delivery")
def cost_delivery(bench: Bench) -> Iterator[Figure]:
    """The same for a million deliveries of events that five endpoints are told of; of events and of deliveries."""
    most = min(DELIVERIES, bench.rows)
    works = {
        "pieces": Work(most // 20, most // 20),
        "contents": Work(most // 5 // FITTED_ENDPOINTS, most // 5),
        "1x": Work(round(most * CHECKED_SHARE) // ENDPOINTS, round(most * CHECKED_SHARE)),
        "10x": Work(most // ENDPOINTS, most),
    }
    with bench.database() as url, cluster(bench, url) as running:
        delivering = _Delivering(running, url)
        delivering.do(Work(AT_ONCE, AT_ONCE))()
        yield _figure(bench, "cost_delivery", works, delivering.do, Meter(running, bench.server, url))


def _figure(
    bench: Bench, name: str, works: Mapping[str, Work], prepared: Callable[[Work], Do], meter: Meter
) -> Figure:
    meter.settle()
    say(f"Idle, CPU seconds a second: {_shown(meter.idle)}")
    rounds: dict[str, list[Costs]] = {size: [] for size in works}
    for _ in range(bench.rounds):
        for size, work in works.items():
            do = prepared(work)
            settle(meter.url)
            rounds[size].append(meter.costs_of(do))
            say(f"{size}, {work}: {_shown(rounds[size][-1])}")
    costs = {size: median_costs(measured) for size, measured in rounds.items()}
    model = fitted((works["pieces"], costs["pieces"]), (works["contents"], costs["contents"]))
    whole = works["10x"]
    scale = MILLION / whole.contents
    detail = {
        "per_thousand_pieces": _told({what: cost * 1000 for what, cost in model.piece.items()}),
        "per_million": _told({what: cost * MILLION for what, cost in model.content.items()}),
        "measured_per_million": _told({what: cost * scale for what, cost in costs["10x"].items()}),
        "model_errors": {size: _errors(model, works[size], costs[size]) for size in ("1x", "10x")},
        "works": {size: [work.pieces, work.contents] for size, work in works.items()},
        "cpu_rounds": {size: [each["cpu"] for each in measured] for size, measured in rounds.items()},
        "idle_per_second": _told(meter.idle),
        "peak_memory": meter.peak_memory(),
    }
    return Figure(
        name,
        costs["10x"]["cpu"] * scale,
        "CPU s per million",
        model.of(whole)["cpu"] * scale,
        detail=detail,
    )


def _errors(model: Model, work: Work, measured: Costs) -> dict[str, float]:
    errors = model.errors(work, measured)
    return {name: errors[name] for name in CHECKED if name in errors}


def _told(costs: Costs) -> dict[str, Any]:
    """Without the tables that stay as they are."""
    return {name: cost for name, cost in costs.items() if cost >= 1 or not name.startswith("bytes ")}


def _shown(costs: Costs) -> str:
    return ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items() if name.startswith("cpu"))


class _Importing:
    """Imports of products that were never there before."""

    def __init__(self, running: Cluster, folder: Path) -> None:
        self._penstock = running.penstock
        self._folder = folder
        self._first = 0
        self._numbers = count()

    def do(self, work: Work) -> Do:
        """Write the files; what is given imports them, one after the other."""
        rows = work.contents // work.pieces
        written = [self._write(rows) for _ in range(work.pieces)]

        def do() -> None:
            for file in written:
                self._penstock.import_file(file, {"rows_inserted": rows})
                file.unlink()

        return do

    def _write(self, rows: int) -> Path:
        file = files.products(self._folder / f"{next(self._numbers)}.csv", rows, first=self._first)
        self._first += rows
        return file


class _Delivering:
    """Events of ended imports, put into the processor's outbox, and the endpoints that are told of each."""

    def __init__(self, running: Cluster, url: str) -> None:
        self._running = running
        self._url = url
        self._numbers = count()

    def do(self, work: Work) -> Do:
        """Make the endpoints; what is given publishes the events."""
        endpoints, tenant = work.contents // work.pieces, f"tenant-{next(self._numbers)}"

        async def made(ours: Webhooks) -> None:
            for number in range(endpoints):
                await ours.endpoint(f"/cost/{number}", tenant=tenant)

        async def publish(ours: Webhooks) -> None:
            left = work.pieces
            while left > 0:
                await ours.publish(*(import_completed(tenant) for _ in range(min(AT_ONCE, left))))
                left -= AT_ONCE
            await asyncio.sleep(0.5)  # the last of them is in the outbox or beyond

        self._run(made)
        return lambda: self._run(publish)

    def _run(self, do: Callable[[Webhooks], Any]) -> None:
        async def run() -> None:
            (notifier,) = self._running.services["notifier"]
            bus_url = self._running.broker.url
            async with webhooks(self._url, notifier, self._running.receiver, bus_url=bus_url) as ours:
                await do(ours)

        uvloop.run(run())
