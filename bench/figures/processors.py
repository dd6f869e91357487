"""Several files at once on one, two and four processors: what more of them bring, and where they wait."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

from bench import files
from bench.bench import Bench, rows_of, say, settle
from bench.costs import Meter
from bench.figures.four_at_once import at_once
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, WARM_UP_ROWS, Cluster, cluster

FILES = 8
PROCESSORS = (1, 2, 4)
SAMPLE_SECONDS = 0.1

# What backends that do something do at this moment; CPU: they wait for nothing that PostgreSQL knows of.
_WAITS = """
    SELECT CASE WHEN wait_event IS NULL THEN 'CPU' ELSE wait_event_type || ':' || wait_event END AS what, count(*) AS backends
    FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() GROUP BY 1
"""
_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"


@measures("processors")
def processors(bench: Bench) -> Iterator[Figure]:
    """Records a second of eight files of eight tenants on four processors, beside one processor.

    `detail` has the same with two, of one tenant, and with one file that has all records; and who used the cores meanwhile, of
    whom each waiting backend waited, and the WAL.
    """
    speeds: dict[str, list[float]] = {}
    used: dict[str, list[Mapping[str, float]]] = {}
    rows = max(1, bench.rows // FILES)
    with bench.subfolder("processors") as folder:
        parts = [files.products(folder / f"{part}.csv", rows, first=part * rows) for part in range(FILES)]
        whole = files.products(folder / "whole.csv", rows * FILES, first=rows * FILES)
        few = files.products(folder / "few.csv", WARM_UP_ROWS)
        for _ in range(bench.rounds):
            for number in PROCESSORS:
                with bench.database() as url, cluster(bench, url, processors=number) as running:
                    shapes = {
                        "tenants": [(part, rows, f"tenant-{at}") for at, part in enumerate(parts)],
                        "one_tenant": [(part, rows, TENANT) for part in parts],
                        "one_file": [(whole, rows * FILES, TENANT)],
                    }
                    warm_up = [(few, WARM_UP_ROWS, f"warm-up-{at}") for at in range(FILES)]
                    at_once(_imports(running, warm_up))
                    for shape, orders in shapes.items():
                        settle(url)
                        with _watched(bench, running, url) as watched:
                            at_once(_imports(running, orders))
                        seconds = watched["seconds"]
                        name = f"{shape}_{number}"
                        speeds.setdefault(name, []).append(rows * FILES / seconds)
                        used.setdefault(name, []).append(watched)
                        say(f"{name}: {speeds[name][-1]:,.0f} records/s")
    speed = {name: median(each) for name, each in speeds.items()}
    detail = {
        "rows_each": rows,
        "speed": speed,
        "ratios": {name: speed[name] / speed[f"{name.rpartition('_')[0]}_{PROCESSORS[0]}"] for name in speed},
        "used": {name: _medians(each) for name, each in used.items()},
        "rounds": speeds,
    }
    most, one = (speed[f"tenants_{number}"] for number in (PROCESSORS[-1], PROCESSORS[0]))
    yield Figure("processors", most, "records/s", one, detail=detail)


def _imports(running: Cluster, orders: Sequence[tuple[object, int, str]]) -> list[Callable[[], object]]:
    def imported(file: object, rows: int, tenant: str) -> Callable[[], object]:
        return lambda: running.penstock.import_file(file, {"rows_inserted": rows}, tenant=tenant)  # type: ignore[arg-type]

    return [imported(*order) for order in orders]


@contextmanager
def _watched(bench: Bench, running: Cluster, url: str) -> Iterator[dict[str, float]]:
    """How long the block took, the cores it used by process, backends by what they waited for, and WAL; at its end."""
    watched: dict[str, float] = {}
    waits: Counter[str] = Counter()
    ended = threading.Event()
    samples = 0

    def sample() -> None:
        nonlocal samples
        while not ended.wait(SAMPLE_SECONDS):
            samples += 1
            waits.update({row["what"]: row["backends"] for row in rows_of(url, _WAITS)})

    meter = Meter(running, bench.server, url)
    wal = rows_of(url, _WAL)[0][0]
    before, began = meter.cpu(), time.perf_counter()
    sampling = threading.Thread(target=sample, daemon=True)
    sampling.start()
    try:
        yield watched
    finally:
        ended.set()
        sampling.join()
    seconds = time.perf_counter() - began
    after = meter.cpu()
    watched["seconds"] = seconds
    watched["wal_mb_per_second"] = (rows_of(url, _WAL)[0][0] - wal) / seconds / 1e6
    watched |= {name: (after[name] - before[name]) / seconds for name in after}
    watched |= {f"waits {what}": backends / max(samples, 1) for what, backends in waits.items()}


def _medians(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = sorted({name for one in each for name in one})
    return {name: median(one.get(name, 0.0) for one in each) for name in names}
