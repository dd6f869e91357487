"""What work costs: CPU by process, what PostgreSQL writes and keeps, what the broker carries, what the store holds."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.bench import NotMeasured, rows_of, value_of
from bench.running import Cluster
from penstock.local.postgres import LocalPostgres
from penstock.local.rabbitmq import LocalRabbit

PATIENCE_SECONDS = 600.0
QUIET_SECONDS = 2.0  # in which no message is handled, when none is left at the broker
IDLE_SECONDS = 20.0  # two canaries through each queue
_TICKS = os.sysconf("SC_CLK_TCK")  # of CPU time, a second

# Nothing waits in the outbox, no record to be found by its words, no delivery.
_QUIET = """
    SELECT NOT EXISTS (SELECT FROM bus.outbox) AND NOT EXISTS (SELECT FROM data.unsearched_v1)
        AND NOT EXISTS (SELECT FROM notifier.deliveries WHERE status = 'pending')
"""
_HANDLED = """
    SELECT ((SELECT count(*) FROM processor.inbox) + (SELECT count(*) FROM results.inbox)
        + (SELECT count(*) FROM notifier.inbox))::float8 AS inbox_rows
"""
_WRITTEN = f"""
    SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal_bytes,
        (SELECT last_value FROM bus.outbox_id_seq)::float8 AS outbox_rows, ({_HANDLED}) AS inbox_rows
"""
_SIZES = """
    SELECT nspname || '.' || relname AS name, pg_table_size(c.oid)::float8 AS heap, pg_indexes_size(c.oid)::float8 AS indexes
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND nspname IN ('upload', 'processor', 'data', 'results', 'notifier', 'bus', 'auth')
"""
# Erlang: messages published and handed out since the node began, and bytes of the connections that are there.
_CARRIED = """
    Sum = fun(Key) -> lists:sum([maps:get(Key, M, 0) || M <- maps:values(rabbit_global_counters:overview())]) end,
    Octets = fun(Key) -> lists:sum([V || [{_, V}] <- rabbit_networking:connection_info_all([Key])]) end,
    [Sum(messages_received_total), Sum(messages_delivered_total), Octets(recv_oct), Octets(send_oct)].
"""

Costs = Mapping[str, float]  # of each thing counted; in seconds, bytes, rows or messages, as its name says


@dataclass(frozen=True)
class Work:
    """An amount of work: of what costs by the piece (imports, events), and of what is in them (records, deliveries)."""

    pieces: int
    contents: int


@dataclass(frozen=True)
class Model:
    """What is said to cost what: so much each piece, so much each of its contents."""

    piece: Costs
    content: Costs

    def of(self, work: Work) -> dict[str, float]:
        """What the work costs by this model."""
        return {
            name: work.pieces * self.piece[name] + work.contents * self.content[name] for name in self.piece
        }

    def errors(self, work: Work, measured: Costs) -> dict[str, float]:
        """By how much it is wrong, as a share of what was measured."""
        said = self.of(work)
        return {name: said[name] / cost - 1 for name, cost in measured.items() if cost and name in said}


def fitted(first: tuple[Work, Costs], second: tuple[Work, Costs]) -> Model:
    """The model that says of two amounts of work what was measured.

    Raises:
        ValueError: both have as many contents a piece.
    """
    (one, of_one), (two, of_two) = first, second
    apart = one.pieces * two.contents - two.pieces * one.contents
    if not apart:
        raise ValueError("two amounts of the same work do not tell what a piece and what its contents cost")
    names = of_one.keys() | of_two.keys()
    pairs = {name: (of_one.get(name, 0.0), of_two.get(name, 0.0)) for name in sorted(names)}
    return Model(
        {name: (a * two.contents - b * one.contents) / apart for name, (a, b) in pairs.items()},
        {name: (b * one.pieces - a * two.pieces) / apart for name, (a, b) in pairs.items()},
    )


def median_costs(rounds: Sequence[Costs]) -> dict[str, float]:
    """The median of each cost."""
    names = sorted({name for costs in rounds for name in costs})
    return {name: median(costs.get(name, 0.0) for costs in rounds) for name in names}


class Meter:
    """Counts what a cluster and its servers take. What they take while nothing is asked of them is left out."""

    def __init__(self, cluster: Cluster, server: LocalPostgres, url: str) -> None:
        self._cluster = cluster
        self._server = server
        self.url = url
        self.idle: Costs = {}  # a second

    def settle(self) -> None:
        """Find out what is taken while nothing is done."""
        self.wait_until_quiet()
        before, began = self._read(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        self.idle = {
            name: cost / (time.monotonic() - began) for name, cost in _less(self._read(), before).items()
        }

    def costs_of(self, do: Callable[[], object]) -> dict[str, float]:
        """What it costs to do something, until nothing is left to do of it.

        `of_postgresql_at_once`: CPU seconds of PostgreSQL until `do` returned; what it took later is part of `cpu_postgresql`, too.
        """
        before, began = self._read(), time.monotonic()
        do()
        at_once = self.cpu()["cpu_postgresql"] - before["cpu_postgresql"]
        self.wait_until_quiet()
        seconds = time.monotonic() - began
        taken = _less(self._read(), before) | {"of_postgresql_at_once": at_once}
        return {name: cost - seconds * self.idle.get(name, 0.0) for name, cost in taken.items()}

    def wait_until_quiet(self) -> None:
        """Raises NotMeasured if it takes for ever."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        handled = -1.0
        while not value_of(self.url, _QUIET) or handled != (handled := value_of(self.url, _HANDLED)):
            if time.monotonic() > deadline:
                raise NotMeasured(f"there is still something to do after {PATIENCE_SECONDS:.0f} s")
            time.sleep(QUIET_SECONDS)

    def peak_memory(self) -> dict[str, float]:
        """The most bytes that a process of each service, and RabbitMQ, ever had in memory."""
        services = {
            name: float(max(process.peak_memory() for process in processes))
            for name, processes in self._cluster.services.items()
        }
        return services | {"rabbitmq": _status(self._cluster.broker.pid, "VmHWM")}

    def _read(self) -> dict[str, float]:
        return {
            **self.cpu(),
            **_postgresql(self.url),
            **_carried(self._cluster.broker),
            "store_bytes": float(sum(_sizes(self._cluster.store))),
        }

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, of each service, of PostgreSQL, of RabbitMQ, and of all."""
        of_services = {
            name: sum(_cpu_seconds(process.pid) for process in processes)
            for name, processes in self._cluster.services.items()
        }
        of_servers = {
            "postgresql": _cpu_seconds(self._server.pid)
            + sum(_cpu_seconds(child, ended=False) for child in _children(self._server.pid)),
            "rabbitmq": _cpu_seconds(self._cluster.broker.pid),
        }
        each = {f"cpu_{name}": seconds for name, seconds in (of_services | of_servers).items()}
        return each | {"cpu": sum(each.values())}


def _less(after: Costs, before: Costs) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def _postgresql(url: str) -> dict[str, float]:
    (written,) = rows_of(url, _WRITTEN)
    sizes = rows_of(url, _SIZES)
    tables = {f"bytes {row['name']}": row["heap"] + row["indexes"] for row in sizes}
    return {
        **dict(written),
        "table_bytes": sum(row["heap"] for row in sizes),
        "index_bytes": sum(row["indexes"] for row in sizes),
        **tables,
    }


def _carried(broker: LocalRabbit) -> dict[str, float]:
    published, delivered, into, out = map(float, re.findall(r"\d+", broker.evaluate(_CARRIED)))
    return {
        "broker_published": published,
        "broker_delivered": delivered,
        "broker_bytes_in": into,
        "broker_bytes_out": out,
    }


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.stat().st_size


def _cpu_seconds(pid: int, *, ended: bool = True) -> float:
    """CPU time of a process, and of those of its children that have ended (proc(5), stat: utime to cstime)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return 0.0  # it has just ended, and its parent counts it
        raise NotMeasured("CPU times are read from /proc, which this system does not have") from None
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()]


def _status(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) * 1024
