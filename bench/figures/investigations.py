"""Investigation events logged over HTTP, one by one and in batches, beside the least that logging can be."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from statistics import median
from uuid import UUID

import uvloop

from bench.bench import Bench, NotMeasured, execute, say, settle, value_of
from bench.loads import Client, Latencies, hurriedly, steadily
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, bench_token, notifier_beside

PATH = "/api/v1/investigation-events"
SUPPLIERS, REASONS = 50, 4  # as many fingerprints as their product
FILES = 20  # of each supplier
REPEATED = 0.1  # of events, which a pipeline sends again
WARM_UP_SECONDS = 2.0
CONNECTIONS = 64
MOST_CONNECTIONS = 256  # at a steady rate, where the server falls behind
SECONDS = 8.0  # as fast as they are answered, of each round
RATE = 1_500.0  # events a second, each by itself
RATE_SECONDS = 10.0
BATCH = 500
BATCH_CONNECTIONS = 8
BATCHES = 200  # as fast as they are answered, of each round
BATCH_RATE = 10_000.0  # events a second, in batches

# The daily analysis of yesterday is not due any more: it would run beside what is measured.
_ANALYSED = f"""
    INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, attempts, tries, next_attempt_at, started_at, finished_at)
    SELECT '{TENANT}', 'daily-analysis', (now() AT TIME ZONE 'UTC')::date - 1, true, 'succeeded', 1, 1, NULL, now(), now()
"""
_KNOWN_SUPPLIERS = f"""
    INSERT INTO notifier.suppliers (tenant, id, name)
    SELECT '{TENANT}', 'supplier-' || n, 'Supplier ' || n FROM generate_series(0, {SUPPLIERS - 1}) AS n
"""
_KEPT_AND_COUNTED = (
    "count(*) FROM notifier.investigation_events",
    "coalesce(sum(event_count), 0)::bigint FROM notifier.investigations",
)


@dataclass
class _Pipelines:
    """Makes the events that pipelines report: each time another one, or one again that was reported lately.

    Attributes:
        made: How many different events there are.
    """

    rng: Random
    made: int = 0
    _lately: deque[bytes] = field(default_factory=lambda: deque(maxlen=100))

    def event(self) -> bytes:
        """The next one, as JSON."""
        if self._lately and self.rng.random() < REPEATED:
            return self.rng.choice(self._lately)
        self.made += 1
        event = self._new()
        self._lately.append(event)
        return event

    def batch(self) -> bytes:
        """The next BATCH of them."""
        return b'{"events":[%b]}' % b",".join(self.event() for _ in range(BATCH))

    def _new(self) -> bytes:
        line = self.rng.randrange(100_000)
        event = {
            "event_id": str(UUID(int=self.rng.getrandbits(128), version=4)),
            "occurred_at": datetime.now(UTC).isoformat(),
            "supplier": f"supplier-{self.rng.randrange(SUPPLIERS)}",
            "stage": "load_ftp",
            "reason": f"reason_{self.rng.randrange(REASONS)}",
            "summary": f"line {line} of prices.csv: price '{line / 100}' is too low",
            "file": {"path": f"/in/prices-{line % FILES}.csv", "size": 2_000_000, "rows": 100_000},
            "extra": {"line": line, "brand": "Nordwerk", "loader": "ftp-7"},
        }
        return json.dumps(event, separators=(",", ":")).encode()


class _Log:
    """A server that logs, and the pipelines that report to it."""

    def __init__(self, url: str) -> None:
        self.pipelines = _Pipelines(Random(7))
        self._client = Client(url, bench_token())
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)

    async def one(self) -> None:
        event = self.pipelines.event()
        async with self._slots:  # who waits for one has waited: times are counted from when a request is due
            await self._client.post(PATH, event)

    async def flat_out(self) -> float:
        """Events a second, one in a request, over CONNECTIONS."""
        await hurriedly(self.one, clients=CONNECTIONS, seconds=WARM_UP_SECONDS)
        rate, _ = await hurriedly(self.one, clients=CONNECTIONS, seconds=SECONDS)
        return rate

    async def at_rate(self) -> Latencies:
        """How long each takes, at RATE."""
        await steadily(self.one, rate=RATE, seconds=WARM_UP_SECONDS)
        return await steadily(self.one, rate=RATE, seconds=RATE_SECONDS)

    async def batches_flat_out(self) -> float:
        """Events a second in batches, over BATCH_CONNECTIONS."""
        left = iter(self._batches(BATCHES))
        began = time.perf_counter()
        await asyncio.gather(*(self._send(left) for _ in range(BATCH_CONNECTIONS)))
        return BATCHES * BATCH / (time.perf_counter() - began)

    async def batches_at_rate(self) -> Latencies:
        """How long each batch takes, at BATCH_RATE."""
        rate = BATCH_RATE / BATCH
        left = iter(self._batches(round(rate * RATE_SECONDS)))
        return await steadily(lambda: self._send_batch(next(left)), rate=rate, seconds=RATE_SECONDS)

    def _batches(self, count: int) -> list[bytes]:
        """Made beforehand, as that takes as long as to log them."""
        return [self.pipelines.batch() for _ in range(count)]

    async def _send(self, batches: Iterator[bytes]) -> None:
        for batch in batches:
            await self._send_batch(batch)

    async def _send_batch(self, batch: bytes) -> None:
        await self._client.post(f"{PATH}/batch", batch)

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True)
class _Kind:
    """A figure: as fast as it goes in events a second, and at a steady rate, which tells how long a request takes."""

    name: str
    goal: str
    flat_out: Callable[[_Log], Awaitable[float]]
    at_rate: Callable[[_Log], Awaitable[Latencies]]


_KINDS = (
    _Kind(
        "event_rate_single",
        f">= 1500 /s; p99 < 50 ms at {RATE:.0f} /s",
        _Log.flat_out,
        _Log.at_rate,
    ),
    _Kind(
        "event_rate_batch",
        f">= 10000 /s; p99 < 50 ms at {BATCH_RATE:.0f} /s",
        _Log.batches_flat_out,
        _Log.batches_at_rate,
    ),
)


@measures(*(kind.name for kind in _KINDS))
def event_rates(bench: Bench) -> Iterator[Figure]:
    """Events a second that one notifier logs, one in each request and in batches, beside a server that only keeps them."""
    for kind in _KINDS:
        if kind.name in bench.wanted:
            with bench.database() as url, notifier_beside(bench, url, "bench.bare_log") as (notifier, bare):
                execute(url, _KNOWN_SUPPLIERS, _ANALYSED)
                yield uvloop.run(_rate(bench, url, kind, _Log(notifier.url), _Log(bare.url)))


async def _rate(bench: Bench, url: str, kind: _Kind, ours: _Log, bare: _Log) -> Figure:
    rates: dict[_Log, list[float]] = {ours: [], bare: []}
    waits: dict[_Log, list[float]] = {ours: [], bare: []}
    for number in range(bench.rounds):
        for log in (ours, bare):
            rates[log].append(await kind.flat_out(log))
            await asyncio.to_thread(settle, url)
            waits[log] += (await kind.at_rate(log)).seconds
            await asyncio.to_thread(settle, url)
        told = ", ".join(
            f"{rates[log][-1]:.0f} events/s, p99 {_percentile(waits[log], 99):.1f} ms" for log in rates
        )
        say(f"Round {number + 1}, and bare: {told}")
    for log in (ours, bare):
        log.close()
    await asyncio.to_thread(_check, url, ours)
    detail = {
        "p99_ms": _percentile(waits[ours], 99),
        "p50_ms": _percentile(waits[ours], 50),
        "baseline_p99_ms": _percentile(waits[bare], 99),
        "rounds": rates[ours],
        "baseline_rounds": rates[bare],
    }
    return Figure(kind.name, median(rates[ours]), "events/s", median(rates[bare]), kind.goal, detail)


def _check(url: str, log: _Log) -> None:
    """Raises NotMeasured if not every event was kept, and counted, once."""
    kept, counted = (value_of(url, f"SELECT {what}") for what in _KEPT_AND_COUNTED)
    if not kept == counted == log.pipelines.made:
        raise NotMeasured(f"of {log.pipelines.made} events {kept} are kept and {counted} counted")


def _percentile(seconds: list[float], percent: int) -> float:
    return Latencies(seconds).percentile(percent)
