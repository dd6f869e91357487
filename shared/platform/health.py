"""Live and ready. Live: the process answers. Ready: it could do its work now, down to its consumers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.problems import NotFound
from shared.platform.edge.openapi import problem_responses

CHECK_TIMEOUT_SECONDS = 4.0
ANSWER_SECONDS = 2.5  # to one of the checks, so that what does not answer is named
REMEMBERED_SECONDS = 0.5  # anyone may ask; the servers behind are asked no more often than this


@dataclass(frozen=True)
class Check:
    """One thing a service needs, and whether it is there. `detail` says what is wrong."""

    name: str
    ok: bool
    detail: str = ""


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the process could do its work now, and if not, what is missing."""

    status: Literal["ok", "unavailable"]
    services: dict[str, Sequence[Check]] = Field(
        description="By service: what it needs, and whether it is there."
    )


Checks = Callable[[], Awaitable[Sequence[Check]]]


async def together(*asked: Awaitable[Check | Sequence[Check]]) -> Sequence[Check]:
    """What all of them find, asked at the same time."""
    found = await asyncio.gather(*asked)
    return [check for each in found for check in ([each] if isinstance(each, Check) else each)]


async def in_time(name: str, ask: Awaitable[object]) -> Check:
    """Whether `ask` ends well within ANSWER_SECONDS; what has to be given up is given up in the background."""
    asking = asyncio.ensure_future(ask)
    done, _ = await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
    if not done:
        asking.cancel()
        return Check(name, ok=False, detail=f"no answer within {ANSWER_SECONDS} s")
    if asking.cancelled():  # by the library behind it, which has given its connection up
        return Check(name, ok=False, detail="given up")
    if error := asking.exception():
        return Check(name, ok=False, detail=type(error).__name__)
    return Check(name, ok=True)


async def database_check(engine: AsyncEngine) -> Check:
    """Whether the database answers a query of this service's role."""

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    return await in_time("database", ask())


_UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": Readiness, "description": "Something cannot; `services` says which check failed"}
}


def health_router(checks: dict[str, Checks]) -> APIRouter:
    """`/health/live` and `/health/ready` of a process with these services, and the same of each: `/health/{service}/ready`."""
    router = APIRouter(prefix="/health", tags=["health"])
    made = {service: _remembered(of_service) for service, of_service in checks.items()}

    async def in_process(service: Annotated[str, Path(description="One of this process's")]) -> str:
        if service not in made:
            raise NotFound(
                "not_found", f"no service {service!r} is in this process; there is {', '.join(made)}"
            )
        return service

    async def readiness(response: Response, *services: str) -> Readiness:
        found = await asyncio.gather(*(made[service]() for service in services))
        good = all(check.ok for of_service in found for check in of_service)
        response.status_code = 200 if good else 503
        return Readiness(
            status="ok" if good else "unavailable", services=dict(zip(services, found, strict=True))
        )

    @router.get("/live", summary="Whether the process answers")
    async def live() -> Liveness:
        return Liveness()

    @router.get(
        "/ready", summary="Whether every service of this process can work now", responses=_UNAVAILABLE
    )
    async def ready(response: Response) -> Readiness:
        return await readiness(response, *made)

    @router.get(
        "/{service}/live",
        summary="Whether the process that a service is in answers",
        dependencies=[Depends(in_process)],
        responses=problem_responses(404, 422),
    )
    async def service_live() -> Liveness:
        return Liveness()

    @router.get(
        "/{service}/ready",
        summary="Whether one service can work now",
        responses=_UNAVAILABLE | problem_responses(404, 422),
    )
    async def service_ready(response: Response, service: Annotated[str, Depends(in_process)]) -> Readiness:
        return await readiness(response, service)

    return router


def _remembered(checks: Checks) -> Checks:
    """`checks`, made one at a time and no more often than `REMEMBERED_SECONDS` says, however often they are asked for."""
    running: asyncio.Task[Sequence[Check]] | None = None
    ended = 0.0

    async def run() -> Sequence[Check]:
        nonlocal ended
        try:
            return await _checked(checks)
        finally:
            ended = monotonic()

    async def found() -> Sequence[Check]:
        nonlocal running
        if running is None or (running.done() and monotonic() - ended > REMEMBERED_SECONDS):
            running = asyncio.create_task(run())
        return await asyncio.shield(running)  # others wait for it, too

    return found


async def _checked(checks: Checks) -> Sequence[Check]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await checks()
    except Exception as error:  # noqa: BLE001 - a check that cannot be made has failed
        return [Check("checks", ok=False, detail=type(error).__name__)]
