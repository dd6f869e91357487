"""Every view of investigations, suppliers and analyses, at a million errors of half a year."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from random import Random

from bench import half_a_year
from bench.bench import Bench, say, settle, value_of
from bench.half_a_year import DAYS, REASONS, STAGES, SUPPLIERS
from bench.loads import Client, Latencies, flat_out
from bench.registry import measures
from bench.report import Figure
from bench.running import bench_token, notifier_alone

SECONDS = 3.0  # of each view, in each round
WARM_UP_SECONDS = 0.5
# Looks at the token, and then asks the database for one tenant's rows, of which there are none.
BARE = "/api/v1/webhooks"

_SOME_INVESTIGATIONS = """
    SELECT array_agg(id::text) FROM (SELECT id FROM notifier.investigations ORDER BY event_count DESC, id LIMIT 400)
"""
_SOME_DAY = "SELECT ((now() AT TIME ZONE 'UTC')::date - 60)::text"

View = Callable[[], str]


@measures("investigation_views")
def investigation_views(bench: Bench) -> Iterator[Figure]:
    """Milliseconds at the 99th percentile that the slowest view takes, beside the least that a request can do."""
    with bench.database() as url:
        half_a_year.fill(url)
        settle(url)
        ids, day = value_of(url, _SOME_INVESTIGATIONS), value_of(url, _SOME_DAY)
        with notifier_alone(bench, url) as notifier:
            yield asyncio.run(_measured(bench, notifier.url, _views(Random(5), ids, day)))


def _views(rng: Random, investigations: list[str], day: str) -> Mapping[str, View]:
    """The requests that a page makes: each time for another supplier, reason or investigation."""

    def supplier() -> str:
        return f"s-{rng.randrange(SUPPLIERS) + 1}"

    def reason() -> str:
        return f"reason_{rng.randrange(REASONS)}"

    def one() -> str:
        return rng.choice(investigations)

    views: dict[str, View] = {
        "investigations": lambda: "/investigations",
        "investigations, total": lambda: "/investigations?total=exact",
        "investigations, queue": lambda: "/investigations?state=open,reopened&order=-severity",
        "investigations, most errors": lambda: "/investigations?order=-count",
        "investigations, last error": lambda: f"/investigations?order=-last_seen&until={day}",
        "investigations, of a supplier": lambda: f"/investigations?supplier={supplier()}",
        "investigations, of a reason": lambda: (
            f"/investigations?reason={reason()}&stage={rng.choice(STAGES)}&order=-count"
        ),
        "investigations, by text": lambda: f"/investigations?text={rng.randrange(20_000)}",
        "investigation": lambda: f"/investigations/{one()}",
        "investigation, events": lambda: f"/investigations/{one()}/events",
        "investigation, history": lambda: f"/investigations/{one()}/history",
        "counts": lambda: "/investigations/counts",
        "trend": lambda: "/investigations/trend",
        "trend, half a year": lambda: f"/investigations/trend?days={DAYS}",
        "trend, of a supplier": lambda: f"/investigations/trend?days={DAYS}&supplier={supplier()}",
        "trend, of a reason": lambda: f"/investigations/trend?days={DAYS}&reason={reason()}",
        "top reasons": lambda: "/investigations/top-reasons",
        "top reasons, since a day": lambda: f"/investigations/top-reasons?since={day}",
        "by supplier": lambda: "/investigations/by-supplier",
        "by supplier, since a day": lambda: f"/investigations/by-supplier?since={day}",
        "reasons": lambda: "/investigation-reasons",
        "suppliers": lambda: "/suppliers?total=exact",
        "suppliers, of a day": lambda: f"/suppliers?day={day}",
        "suppliers, by text": lambda: f"/suppliers?q={rng.randrange(SUPPLIERS)}",
        "supplier": lambda: f"/suppliers/{supplier()}",
        "supplier, days": lambda: f"/suppliers/{supplier()}/days",
        "supplier, files": lambda: f"/suppliers/{supplier()}/files",
        "analyses": lambda: "/analyses?total=exact",
        "analyses, of a supplier": lambda: f"/analyses?supplier={supplier()}",
        "buckets": lambda: "/analyses/buckets",
        "late suppliers": lambda: "/analyses/late",
        "failures": lambda: "/analyses/failures",
        "overview": lambda: "/analyses/overview",
        "jobs": lambda: "/jobs",
        "job runs": lambda: "/jobs/daily-analysis/runs",
    }
    return {name: _below_api(view) for name, view in views.items()}


def _below_api(view: View) -> View:
    return lambda: f"/api/v1{view()}"


async def _measured(bench: Bench, url: str, views: Mapping[str, View]) -> Figure:
    client = Client(url, bench_token())
    seconds: dict[str, list[float]] = {name: [] for name in views}
    bare: list[float] = []
    try:
        for number in range(bench.rounds):
            for name, view in views.items():
                seconds[name] += await _one_by_one(client, view)
            bare += await _one_by_one(client, lambda: BARE)
            say(f"Round {number + 1}: {_told(seconds)}; bare {_percentile(bare, 99):.1f} ms")
    finally:
        client.close()
    p99 = {name: _percentile(taken, 99) for name, taken in seconds.items()}
    slowest = max(p99, key=lambda name: p99[name])
    detail = {
        "slowest": slowest,
        "p99": p99,
        "median": {name: _percentile(taken, 50) for name, taken in seconds.items()},
        "requests": sum(map(len, seconds.values())),
    }
    return Figure("investigation_views", p99[slowest], "ms", _percentile(bare, 99), "value < 200", detail)


async def _one_by_one(client: Client, view: View) -> list[float]:
    await flat_out(client, view, clients=1, seconds=WARM_UP_SECONDS)
    _, taken = await flat_out(client, view, clients=1, seconds=SECONDS)
    return list(taken.seconds)


def _told(seconds: Mapping[str, list[float]]) -> str:
    slow = sorted(seconds, key=lambda name: -_percentile(seconds[name], 99))[:5]
    return ", ".join(f"{name} {_percentile(seconds[name], 99):.1f} ms" for name in slow)


def _percentile(seconds: list[float], percent: int) -> float:
    return Latencies(seconds).percentile(percent)
