"""`/metrics`: what Prometheus reads. What must be asked of others is asked at that moment, each source by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from time import monotonic

from fastapi import APIRouter, Request, Response
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from shared.platform.logs import get_logger
from shared.platform.telemetry.figures import REGISTRY, SCRAPE_FAILURES, Sample

READ_TIMEOUT_SECONDS = 4.0
REMEMBERED_SECONDS = 2.0  # anyone may ask; the servers behind are asked no more often than this

log = get_logger(__name__)

Source = Callable[[], Awaitable[Sequence[Sample]]]


class Exposition:
    """The figures of a process. `sources`: by name, what reads those that are not kept in memory."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._samples: Sequence[Sample] = ()
        self._until = 0.0
        self._reading = asyncio.Lock()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """All of it, and its media type; `accept`: which of Prometheus' formats the caller wants.

        A source that fails, or takes longer than READ_TIMEOUT_SECONDS, is left out: silence is what alerts look for.
        """
        async with self._reading:
            if monotonic() >= self._until:
                read = await asyncio.gather(*(_read(name, source) for name, source in self._sources.items()))
                self._samples = [sample for samples in read for sample in samples]
                self._until = monotonic() + REMEMBERED_SECONDS
        encode, media_type = choose_encoder(accept)
        return encode(_Snapshot(self._samples)), media_type


class _Snapshot:
    """The registry, and behind it what was read."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from families(self._samples)


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """What Prometheus calls families: the samples by figure. Two with the same labels are one, the first."""
    in_order = sorted(samples, key=lambda sample: sample.figure.name)
    for figure, of_figure in groupby(in_order, key=lambda sample: sample.figure):
        family = GaugeMetricFamily(figure.name, figure.meaning, labels=figure.labels)
        for labels, value in {
            tuple(sample.labels): sample.value for sample in reversed(list(of_figure))
        }.items():
            family.add_metric(list(labels), value)
        yield family


async def _read(name: str, source: Source) -> Sequence[Sample]:
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            return await source()
    except Exception as error:  # noqa: BLE001 - whatever the reason, the other figures are there
        SCRAPE_FAILURES.labels(name).inc()
        log.warning("metrics.not_read", source=name, error=repr(error))
        return ()


def metrics_router(exposition: Exposition) -> APIRouter:
    """`GET /metrics` of a process."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        content, media_type = await exposition.text(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return router
