"""A service whose database is behind its code: what it says meanwhile, and how the wait ends."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter

from shared.platform import patience
from shared.platform.health import Check
from shared.platform.patience import patient
from shared.platform.service import Service, compose
from shared.platform.settings import ProcessSettings


class Rig:
    """A service that needs a revision; `lacks` is what it still lacks, or why that is not known."""

    def __init__(self, *, lacks=(), fault=None):
        self.lacks, self.fault, self.life, self.ended = list(lacks), fault, [], asyncio.Event()
        router = APIRouter(prefix="/api/v1")
        router.add_api_route("/mill", lambda: "grinds")
        service = Service("mill", self._lifespan, self._checks, router, figures={"stones": self._figures})
        self.service = patient(service, self._lacking, self.ended.set)
        app = compose([self.service], ProcessSettings())
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mill")

    async def _lacking(self):
        if isinstance(self.lacks, Exception):
            raise self.lacks
        return self.lacks

    @asynccontextmanager
    async def _lifespan(self):
        if self.fault:
            raise self.fault
        self.life.append("entered")
        yield
        self.life.append("left")

    async def _checks(self):
        return [Check("stones", ok=True)]

    async def _figures(self):
        assert self.life == ["entered"]
        return ["a figure"]

    async def checks(self):
        return {check.name: (check.ok, check.detail) for check in await self.service.checks()}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.01)


async def test_one_with_a_database_of_its_version_starts_at_once():
    rig = Rig()
    async with rig.service.lifespan(), rig.http:
        assert rig.life == ["entered"]
        assert await rig.checks() == {"schema": (True, ""), "stones": (True, "")}
        assert (await rig.http.get("/api/v1/mill")).json() == "grinds"
        assert await rig.service.figures["stones"]() == ["a figure"]
    assert rig.life == ["entered", "left"]


async def test_one_without_waits_and_then_starts_by_itself():
    rig = Rig(lacks=["mill_0002"])
    async with rig.service.lifespan(), rig.http:
        assert await rig.checks() == {"schema": (False, "lacks mill_0002: run `penstock migrate`")}
        refused = await rig.http.get("/api/v1/mill")
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        ready = await rig.http.get("/health/ready")
        assert ready.status_code == 503
        assert [check["name"] for check in ready.json()["services"]["mill"]] == ["schema"]
        assert not await rig.service.figures["stones"]()
        rig.lacks = ConnectionRefusedError("the database starts anew")
        await asyncio.sleep(0.05)
        assert rig.life == []
        rig.lacks = []
        async with asyncio.timeout(20):
            while "stones" not in await rig.checks():
                await asyncio.sleep(0.01)
        assert (await rig.http.get("/api/v1/mill")).json() == "grinds"
    assert rig.life == ["entered", "left"]


async def test_one_that_waits_can_be_stopped():
    rig = Rig(lacks=["mill_0002"])
    async with asyncio.timeout(20), rig.http, rig.service.lifespan():
        pass
    assert rig.life == []
    assert not rig.ended.is_set()


async def test_one_that_cannot_start_after_all_ends_the_process():
    rig = Rig(lacks=["mill_0002"], fault=ConnectionRefusedError("no RabbitMQ"))

    async def lives():
        async with asyncio.timeout(20), rig.service.lifespan():
            rig.lacks = []
            await rig.ended.wait()

    with pytest.raises(ConnectionRefusedError, match="no RabbitMQ"):
        await lives()
    await rig.http.aclose()


async def test_a_database_that_is_away_is_no_reason_to_wait():
    rig = Rig(lacks=["mill_0002"])
    rig.lacks = ConnectionRefusedError("no PostgreSQL")
    with pytest.raises(ConnectionRefusedError):
        await rig.service.lifespan().__aenter__()
    await rig.http.aclose()
