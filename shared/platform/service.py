"""A service is a router and a lifespan; a process is one or more services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from fastapi import APIRouter, FastAPI

from shared.platform.edge import InHand, Streams, add_edge
from shared.platform.edge.docs import add_docs
from shared.platform.edge.openapi import described
from shared.platform.health import Checks, health_router
from shared.platform.settings import ProcessSettings
from shared.platform.telemetry.exposition import Exposition, Source, metrics_router

# What requests get to clean up when the server has cancelled them, while the services are still there.
CLEAN_UP_SECONDS = 3.0


class Stopping:
    """Set once, when the process was told to stop; long-lived responses and loops watch it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, or until the process stops: True in that case."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True)
class Service:
    """One of the four, ready to run.

    Attributes:
        lifespan: Entered before the first request, left after the last one.
        checks: What readiness asks.
        streams: Paths whose request bodies are streamed; all others are limited. `/a/*` is `/a` and all below.
        webhooks: Requests that it makes itself, of its users, for the section `webhooks` of the OpenAPI description.
        figures: By name, what reads the figures of `/metrics` that are not counted as they happen.
    """

    name: str
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    checks: Checks
    router: APIRouter = field(default_factory=APIRouter)
    streams: frozenset[str] = frozenset()
    webhooks: APIRouter = field(default_factory=APIRouter)
    figures: Mapping[str, Source] = field(default_factory=dict)


@asynccontextmanager
async def _all_alive(services: Sequence[Service]) -> AsyncIterator[None]:
    """Enter the lifespans one after the other, leave them all at once: the time to stop is the longest one's."""
    leaving = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def live(service: Service, entered: asyncio.Event) -> None:
        async with service.lifespan():
            entered.set()
            await leaving.wait()

    try:
        for service in services:
            entered = asyncio.Event()
            tasks.append(asyncio.create_task(live(service, entered)))
            waiting = asyncio.create_task(entered.wait())
            await asyncio.wait({waiting, tasks[-1]}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not entered.is_set():
                await tasks.pop()  # raises what the service could not start for
        yield
    finally:
        leaving.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        if errors := [error for error in ended if isinstance(error, Exception)]:
            raise ExceptionGroup("services did not leave in order", errors)


def joined(*routers: APIRouter) -> APIRouter:
    """One router with the routes of all, in their order.

    Each has the whole path in its prefix: a router within a router is asked for its routes twice in each request, and more
    often the deeper it is.
    """
    one = APIRouter()
    for router in routers:
        one.routes.extend(router.routes)
    return one


def compose(
    services: Sequence[Service],
    settings: ProcessSettings | None = None,
    stopping: Stopping | None = None,
) -> FastAPI:
    """One ASGI application of `services`: their routes, their lifespans, one health, one edge.

    `settings`: those of the environment, unless given. `stopping`: set when the server is about to cancel requests.
    """
    in_hand = InHand()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _all_alive(services):
            yield
            await in_hand.none(CLEAN_UP_SECONDS)

    app = FastAPI(
        title="Penstock" if len(services) > 1 else f"Penstock {services[0].name}",
        description="The gate that lets partners' CSV files into PostgreSQL.",
        lifespan=lifespan,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    add_docs(app)
    for service in services:
        app.router.routes.extend(service.router.routes)
        app.webhooks.routes.extend(service.webhooks.routes)
    app.router.routes.extend(health_router({service.name: service.checks for service in services}).routes)
    sources = {
        f"{service.name}.{name}": read for service in services for name, read in service.figures.items()
    }
    app.router.routes.extend(metrics_router(Exposition(sources)).routes)
    description = cache(lambda: described(app))
    app.openapi = description  # type: ignore[method-assign]  # as FastAPI's manual has it
    add_edge(
        app,
        settings or ProcessSettings(),
        streams=Streams(path for service in services for path in service.streams),
        in_hand=in_hand,
        stopping=lambda: bool(stopping),
    )
    return app
