"""Four imports at once on two processors, beside one import alone on the same two."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from threading import Thread

from bench import files
from bench.bench import Bench, settle
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, WARM_UP_ROWS, Penstock, penstock_apart

PROCESSORS = 2


@dataclass(frozen=True)
class _Order:
    """One import to make, of so many new records."""

    file: Path
    rows: int
    dataset: str = "products"
    tenant: str = TENANT


@measures("import_four_at_once")
def import_fourat_once(bench: Bench) -> Iterator[Figure]:
    """Records a second of all four together: three of products, for two tenants, and one of books.

    `detail` has four of products for one tenant too.
    """
    with bench.subfolder("four") as folder:
        rows = max(1, bench.rows // 4)
        warm_up = _warm_up(folder)
        parts = [files.products(folder / f"{part}.csv", rows, first=part * rows) for part in range(4)]
        first, second, third, fourth = (_Order(part, rows) for part in parts)
        other_tenant = _Order(parts[2], rows, tenant="other")
        books = _Order(files.books(folder / "books.csv", rows), rows, dataset="books")
        orders = {
            "alone": [first],
            "mixed": [first, second, other_tenant, books],
            "one_tenant": [first, second, third, fourth],
        }
        speeds: dict[str, list[float]] = {name: [] for name in orders}
        for _ in range(bench.rounds):
            for name, together in orders.items():
                speeds[name].append(_speed(bench, warm_up, together))
    alone, mixed, one_tenant = (median(speeds[name]) for name in orders)
    detail = {
        "rows_each": rows,
        "processors": PROCESSORS,
        "one_tenant_ratio": one_tenant / alone,
        "rounds": speeds,
    }
    yield Figure("import_four_at_once", mixed, "records/s", alone, detail=detail)


def _warm_up(folder: Path) -> list[_Order]:
    """Small imports, so many that every processor gets one."""
    few = files.products(folder / "few.csv", WARM_UP_ROWS)
    return [_Order(few, WARM_UP_ROWS, tenant=f"warm-up-{number}") for number in range(4)]


def _speed(bench: Bench, warm_up: Sequence[_Order], orders: Sequence[_Order]) -> float:
    """Records a second of all `orders` together, on new processes and an empty database."""
    with bench.database() as url, penstock_apart(bench, url, processors=PROCESSORS) as penstock:
        at_once([_import(penstock, order) for order in warm_up])
        settle(url)
        began = time.perf_counter()
        at_once([_import(penstock, order) for order in orders])
        return sum(order.rows for order in orders) / (time.perf_counter() - began)


def _import(penstock: Penstock, order: _Order) -> Callable[[], object]:
    expected = {"rows_inserted": order.rows}
    return lambda: penstock.import_file(order.file, expected, dataset=order.dataset, tenant=order.tenant)


def at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Make the calls together; returns when all have ended. Raises what the first one that failed raised."""
    ended: SimpleQueue[Exception | None] = SimpleQueue()

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            ended.put(error)
        else:
            ended.put(None)

    for call in calls:
        Thread(target=run, args=[call], daemon=True).start()  # a daemon does not hold up who is interrupted
    for _ in calls:
        if error := ended.get():
            raise error
