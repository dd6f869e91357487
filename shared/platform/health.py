"""Live and ready. Live: the process answers. Ready: it could do its work now, down to its consumers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

CHECK_TIMEOUT_SECONDS = 4.0
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


async def database_check(engine: AsyncEngine) -> Check:
    """Whether the database answers a query of this service's role."""
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except Exception as error:  # noqa: BLE001 - whatever the reason, it is not there
        return Check("database", ok=False, detail=type(error).__name__)
    return Check("database", ok=True)


def health_router(checks: dict[str, Checks]) -> APIRouter:
    """`/health/live` and `/health/ready` of a process with these services."""
    router = APIRouter(prefix="/health", tags=["health"])
    last: tuple[float, list[Sequence[Check]]] = (0.0, [])

    @router.get("/live", summary="Whether the process answers")
    async def live() -> Liveness:
        return Liveness()

    @router.get(
        "/ready",
        summary="Whether every service of this process can work now",
        responses={
            503: {"model": Readiness, "description": "One of them cannot; `services` says which check failed"}
        },
    )
    async def ready(response: Response) -> Readiness:
        nonlocal last
        if monotonic() - last[0] > REMEMBERED_SECONDS:
            last = (monotonic(), await asyncio.gather(*(_checked(check) for check in checks.values())))
        results = last[1]
        good = all(check.ok for found in results for check in found)
        response.status_code = 200 if good else 503
        return Readiness(
            status="ok" if good else "unavailable", services=dict(zip(checks, results, strict=True))
        )

    return router


async def _checked(checks: Checks) -> Sequence[Check]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await checks()
    except Exception as error:  # noqa: BLE001 - a check that cannot be made has failed
        return [Check("checks", ok=False, detail=type(error).__name__)]
