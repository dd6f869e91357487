"""Webhooks: how many go out, how soon, and whether an endpoint feels that its neighbour is broken."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from statistics import median
from uuid import UUID

import aiohttp
import uvloop

from bench.bench import Bench, NotMeasured, say, settle
from bench.loads import Latencies
from bench.registry import measures
from bench.report import Figure
from bench.running import Process, notifier_and_receiver
from bench.webhooks import Endpoint, Received, Webhooks, import_completed, webhooks
from penstock.local.processes import free_port

ENDPOINTS, EVENTS = 20, 500  # each endpoint is told of each event
EVENTS_ALONE = 2000
AT_ONCE = 50  # events of a transaction, where they come as fast as they can
CONNECTIONS = 10  # to one endpoint, as the notifier has
SAMPLE = 200  # requests whose signatures are checked
IDLE_RATE, LOAD_RATE = 10.0, 200.0  # events a second
LATENCY_SECONDS = 15.0  # of each round
HEALTHY_RATE, NEIGHBOUR_RATE = 50.0, 400.0
NEIGHBOUR_AT_ONCE = (
    10  # of the neighbour's events in a transaction, so that to publish them takes the machine little
)
NEIGHBOUR_SECONDS = (
    12.0  # during all of which one that does not answer holds its places: an attempt takes 15 s
)
WARM_UP_EVENTS = 40
PATIENCE_SECONDS = 120.0
LINGER_SECONDS = 16.0  # until no attempt is left that nobody answers

Neighbour = Callable[[Webhooks, str], Awaitable[Endpoint]]


@measures("webhook_rate", "webhook_latency_idle", "webhook_latency_load")
def webhook_rate(bench: Bench) -> Iterator[Figure]:
    """Deliveries a second of one notifier, signed and with every attempt recorded, beside the same requests sent bare; and
    milliseconds from the commit of an event until a receiver has read of it, beside such a request alone.
    """
    with bench.database() as url, notifier_and_receiver(bench, url) as (notifier, receiver):

        @asynccontextmanager
        async def opened() -> AsyncIterator[Webhooks]:
            async with webhooks(url, notifier, receiver) as ours:
                await _warmed_up(ours)
                yield ours

        async def rates() -> list[Figure]:
            async with opened() as ours:
                return [await _rate(bench, url, ours)]

        async def latencies() -> list[Figure]:
            async with opened() as ours:
                return [
                    await _latency(bench, ours, "webhook_latency_idle", IDLE_RATE, goal="<= 100 ms"),
                    await _latency(bench, ours, "webhook_latency_load", LOAD_RATE, goal="<= 1000 ms"),
                ]

        if "webhook_rate" in bench.wanted:
            yield from uvloop.run(rates())
        if bench.wanted & {"webhook_latency_idle", "webhook_latency_load"}:
            yield from (one for one in uvloop.run(latencies()) if one.name in bench.wanted)


@measures("webhook_slow_neighbour")
def webhook_slow_neighbour(bench: Bench) -> Iterator[Figure]:
    """Milliseconds from the commit of an event until a healthy endpoint has read of it, at the 99th percentile, while another
    endpoint is told of 400 events a second and is broken, beside the same while it is well.
    """
    with bench.database() as url, notifier_and_receiver(bench, url) as services:
        yield uvloop.run(_neighbours(bench, url, *services))


async def _warmed_up(ours: Webhooks) -> None:
    """What only the first events and requests after a start have to do."""
    endpoint = await ours.endpoint("/warm-up", tenant="warm-up")
    await ours.publish(*(import_completed("warm-up") for _ in range(WARM_UP_EVENTS)))
    await _until(lambda: ours.value("SELECT count(*) FROM notifier.attempts"), WARM_UP_EVENTS)
    await ours.forget(endpoint)
    await ours.received()


async def _rate(bench: Bench, url: str, ours: Webhooks) -> Figure:
    shapes = {"endpoints": (ENDPOINTS, EVENTS), "alone": (1, EVENTS_ALONE)}
    rates: dict[str, list[float]] = {name: [] for name in shapes}
    bare: dict[str, list[float]] = {name: [] for name in shapes}
    for _ in range(bench.rounds):
        for name, (endpoints, events) in shapes.items():
            rate, received = await _delivered(ours, endpoints, events)
            rates[name].append(rate)
            bare[name].append(await _posted(ours, endpoints, received))
            await asyncio.to_thread(settle, url)
            say(f"{name}: {rate:.0f} deliveries/s, bare {bare[name][-1]:.0f}")
    detail = {
        "endpoints": ENDPOINTS,
        "events": EVENTS,
        "rounds": rates["endpoints"],
        "baseline_rounds": bare["endpoints"],
        "one_endpoint": rates["alone"],
        "one_endpoint_baseline": bare["alone"],
    }
    value, baseline = median(rates["endpoints"]), median(bare["endpoints"])
    return Figure("webhook_rate", value, "deliveries/s", baseline, ">= 1000 /s", detail)


async def _delivered(ours: Webhooks, count: int, events: int) -> tuple[float, Sequence[Received]]:
    """Deliveries a second from the commit of the first event until the last attempt is recorded; and what came.

    Raises:
        NotMeasured: it is not all that should have come, or is not signed.
    """
    endpoints = [await ours.endpoint(f"/rate/{number}", tenant="rate") for number in range(count)]
    began = time.perf_counter()
    for _ in range(0, events, AT_ONCE):
        await ours.publish(*(import_completed("rate") for _ in range(AT_ONCE)))
    recorded = "SELECT count(*) FROM notifier.attempts JOIN notifier.deliveries ON id = delivery_id WHERE status = 'succeeded'"
    await _until(lambda: ours.value(recorded), count * events)
    seconds = time.perf_counter() - began
    received = await ours.received()
    secrets = {endpoint.path: endpoint.secret for endpoint in endpoints}
    signed = all(one.is_signed_with(secrets[one.path]) for one in Random(1).sample(received, SAMPLE))
    if len(received) != count * events or not signed:
        raise NotMeasured(f"{len(received)} requests came instead of {count * events}, signed: {signed}")
    for endpoint in endpoints:
        await ours.forget(endpoint)
    return count * events / seconds, received


async def _posted(ours: Webhooks, endpoints: int, received: Sequence[Received]) -> float:
    """Requests a second of a client that sends the same again, unsigned, as fast as they are answered."""
    left = iter(received)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as client:

        async def send() -> None:
            for one in left:
                async with client.post(ours.receiver_url + one.path, data=one.body.encode()) as response:
                    await response.read()

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(endpoints * CONNECTIONS)))
        seconds = time.perf_counter() - began
    await ours.received()
    return len(received) / seconds


async def _latency(bench: Bench, ours: Webhooks, name: str, rate: float, *, goal: str) -> Figure:
    tolds: list[float] = []
    posts: list[float] = []
    for _ in range(bench.rounds):
        endpoint = await ours.endpoint("/latency", tenant="latency")
        tolds += await _told(ours, endpoint, rate, LATENCY_SECONDS)
        await ours.forget(endpoint)
        posts += await _post_alone(ours, rate, LATENCY_SECONDS)
    told, post = Latencies(tolds), Latencies(posts)
    detail = {
        "events_a_second": rate,
        "events": len(tolds),
        "median": told.percentile(50),
        "baseline_median": post.percentile(50),
        "most": max(tolds) * 1e3,
    }
    return Figure(name, told.percentile(99), "ms", post.percentile(99), goal, detail)


async def _told(ours: Webhooks, endpoint: Endpoint, rate: float, seconds: float) -> list[float]:
    """Seconds from the commit of each event until the receiver had read of it; events come at a fixed rate."""
    commits: dict[UUID, float] = {}
    await _at_rate(lambda: _publish(ours, endpoint.tenant, "products", commits), rate, seconds)
    received = await _awaited(ours, endpoint.path, len(commits))
    return [one.moment - commits[one.import_id] for one in received]


async def _publish(ours: Webhooks, tenant: str, dataset: str, commits: dict[UUID, float]) -> None:
    event = import_completed(tenant, dataset)
    commits[event.data.import_id] = await ours.publish(event)


async def _post_alone(ours: Webhooks, rate: float, seconds: float) -> list[float]:
    """Seconds from the beginning of a request until the receiver had read it."""
    sent: dict[UUID, float] = {}
    async with aiohttp.ClientSession() as client:

        async def send() -> None:
            event = import_completed("latency")
            sent[event.data.import_id] = time.monotonic()
            async with client.post(f"{ours.receiver_url}/bare", data=event.to_bytes()) as response:
                await response.read()

        await _at_rate(send, rate, seconds)
    return [one.moment - sent[one.import_id] for one in await ours.received()]


async def _at_rate(do: Callable[[], Awaitable[None]], rate: float, seconds: float) -> None:
    """Begin at fixed moments, whatever becomes of those before."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as together:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            together.create_task(_awaitable(do()))


async def _awaitable(work: Awaitable[None]) -> None:
    await work


async def _awaited(ours: Webhooks, path: str, count: int) -> list[Received]:
    """What has come at `path`, once it is `count` requests."""
    received: list[Received] = []

    async def enough() -> int:
        received.extend(one for one in await ours.received() if one.path == path)
        return len(received)

    await _until(enough, count)
    return received


async def _until(counted: Callable[[], Awaitable[int]], count: int) -> None:
    """Raises NotMeasured if it is not so many in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := await counted()) < count:
        if time.monotonic() > deadline:
            raise NotMeasured(f"{now} instead of {count} after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


async def _well(ours: Webhooks, tenant: str) -> Endpoint:
    return await ours.endpoint("/well", tenant=tenant, dataset="books")


async def _dead(ours: Webhooks, tenant: str) -> Endpoint:
    url = f"http://127.0.0.1:{free_port()}/dead"  # nobody listens there
    return await ours.endpoint("/dead", tenant=tenant, dataset="books", url=url)


async def _slow(ours: Webhooks, tenant: str) -> Endpoint:
    return await ours.endpoint("/slow", tenant=tenant, dataset="books")


NEIGHBOURS: dict[str, Neighbour] = {"well": _well, "dead": _dead, "slow": _slow}


async def _neighbours(bench: Bench, url: str, *services: Process) -> Figure:
    tenants = {"other": "neighbour", "same": "healthy"}
    waits: dict[str, list[float]] = {"alone": []}
    waits |= {f"{kind}_{whose}": [] for whose, kind in itertools.product(tenants, NEIGHBOURS)}
    async with webhooks(url, *services) as ours:
        await _warmed_up(ours)
        for number in range(bench.rounds):
            waits["alone"] += await _beside(ours, None, "")
            for (whose, tenant), (kind, neighbour) in itertools.product(tenants.items(), NEIGHBOURS.items()):
                waits[f"{kind}_{whose}"] += await _beside(ours, neighbour, tenant)
                await asyncio.sleep(LINGER_SECONDS if kind == "slow" else 0)
                await asyncio.to_thread(settle, url)
            say(
                f"Round {number + 1}: "
                + ", ".join(f"{name} {_p99(all_):.1f} ms" for name, all_ in waits.items())
            )
    p99 = {name: _p99(seconds) for name, seconds in waits.items()}
    ratios = {
        f"{kind}_{whose}": p99[f"{kind}_{whose}"] / p99[f"well_{whose}"]
        for whose, kind in itertools.product(tenants, ("dead", "slow"))
    }
    worst = max(ratios, key=lambda name: ratios[name])
    detail = {
        "worst": worst,
        "ratios": ratios,
        "p99": p99,
        "median": {name: Latencies(seconds).percentile(50) for name, seconds in waits.items()},
        "events_each": len(waits["alone"]),
    }
    baseline = p99[f"well_{worst.partition('_')[2]}"]
    return Figure("webhook_slow_neighbour", p99[worst], "ms", baseline, "<= 1.10", detail)


async def _beside(ours: Webhooks, neighbour: Neighbour | None, tenant: str) -> list[float]:
    """Seconds until a healthy endpoint has read of its events while a neighbour gets its own, if there is one."""
    healthy = await ours.endpoint("/healthy", tenant="healthy")
    other = await neighbour(ours, tenant) if neighbour else None
    told = asyncio.create_task(_told(ours, healthy, HEALTHY_RATE, NEIGHBOUR_SECONDS))
    if other:

        async def publish() -> None:
            await ours.publish(*(import_completed(tenant, "books") for _ in range(NEIGHBOUR_AT_ONCE)))

        await _at_rate(publish, NEIGHBOUR_RATE / NEIGHBOUR_AT_ONCE, NEIGHBOUR_SECONDS)
    seconds = await told
    for endpoint in filter(None, (healthy, other)):
        await ours.forget(endpoint)
    return seconds


def _p99(seconds: Sequence[float]) -> float:
    return Latencies(seconds).percentile(99)
