"""A service whose database is behind its code waits, unready and saying so, and starts by itself once `migrate` has run.

So an upgrade may begin with either: new processes that come too early do no harm. One whose database is ahead just starts,
as a migration leaves everything in place that the version before needs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.contracts.problems import Unavailable
from shared.platform.health import Check
from shared.platform.logs import get_logger
from shared.platform.service import Service
from shared.platform.telemetry.exposition import Source
from shared.platform.telemetry.figures import Sample

LOOK_SECONDS = 1.0
TOLD_SECONDS = 60.0  # how often the log says again that it waits

log = get_logger(__name__)

Lacking = Callable[[], Awaitable[Sequence[str]]]  # the revisions that the database has not got yet


@dataclass
class _Wait:
    lacks: Sequence[str] = ()
    started: asyncio.Event = field(default_factory=asyncio.Event)


def patient(service: Service, lacking: Lacking, end: Callable[[], None]) -> Service:
    """`service`, which waits for its revisions before it starts.

    Until then its requests are answered 503. If it cannot start after all, its lifespan has raised, and `end` is called,
    which is to stop the process.
    """
    wait = _Wait()

    async def live(leaving: asyncio.Event) -> None:
        await _until_migrated(service.name, lacking, wait)
        try:
            async with service.lifespan():
                wait.started.set()
                await leaving.wait()
        except Exception:
            end()
            raise

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        wait.lacks = await lacking()
        if not wait.lacks:
            async with service.lifespan():
                wait.started.set()
                yield
            return
        log.warning("schema.behind", service=service.name, lacks=list(wait.lacks), hint="penstock migrate")
        leaving = asyncio.Event()
        living = asyncio.create_task(live(leaving))
        _refuse(service, wait)
        try:
            yield
        finally:
            leaving.set()
            if not wait.started.is_set():
                living.cancel()
            with suppress(asyncio.CancelledError):
                await living

    async def checks() -> Sequence[Check]:
        if wait.started.is_set():
            return [Check("schema", ok=True), *await service.checks()]
        return [Check("schema", ok=False, detail=_said(wait))]

    def when_started(read: Source) -> Source:
        async def figures() -> Sequence[Sample]:
            return await read() if wait.started.is_set() else ()

        return figures

    figures = {name: when_started(read) for name, read in service.figures.items()}
    return replace(service, lifespan=lifespan, checks=checks, figures=figures)


async def _until_migrated(name: str, lacking: Lacking, wait: _Wait) -> None:
    looks = 0
    while wait.lacks:
        await asyncio.sleep(LOOK_SECONDS)
        looks += 1
        try:
            wait.lacks = await lacking()
        except Exception as error:  # noqa: BLE001 - the database may be away for a while, and starts anew
            log.warning("schema.not_known", service=name, error=repr(error))
        if wait.lacks and looks % round(TOLD_SECONDS / LOOK_SECONDS) == 0:
            log.warning("schema.behind", service=name, lacks=list(wait.lacks), hint="penstock migrate")
    log.info("schema.migrated", service=name)


def _said(wait: _Wait) -> str:
    return f"lacks {', '.join(wait.lacks)}: run `penstock migrate`" if wait.lacks else "starting"


def _refuse(service: Service, wait: _Wait) -> None:
    """Answer 503 to whatever is asked of the service before it has started."""
    for route in service.router.routes:
        if isinstance(route, APIRoute):
            route.app = _refusing(route.app, service.name, wait)


def _refusing(app: ASGIApp, name: str, wait: _Wait) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if not wait.started.is_set():
            detail = f"{name} waits for its database to be brought to this version"
            raise Unavailable("service_unavailable", detail, retry_after=5)
        await app(scope, receive, send)

    return answer
