"""A process is one or more services: how they start and leave together."""

import asyncio
import time
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.platform.health import Check, in_time
from shared.platform.service import Service, Stopping, compose


def service(
    name: str, log: list[str], *, stop_seconds: float = 0.0, fails: bool = False, ok: bool = True
) -> Service:
    @asynccontextmanager
    async def lifespan():
        if fails:
            raise ConnectionRefusedError(f"{name} finds no database")
        log.append(f"{name} up")
        try:
            yield
        finally:
            await asyncio.sleep(stop_seconds)
            log.append(f"{name} down")

    async def checks():
        return [Check("work", ok=ok, detail="" if ok else "no")]

    return Service(name, lifespan, checks)


async def test_services_start_in_order_and_leave_at_once():
    log: list[str] = []
    app = compose([service(name, log, stop_seconds=0.3) for name in "abcd"])
    async with app.router.lifespan_context(app):
        assert log == ["a up", "b up", "c up", "d up"]
        began = time.monotonic()
    assert sorted(log[4:]) == ["a down", "b down", "c down", "d down"]
    assert time.monotonic() - began < 0.9, "one after the other would take 1.2 s"


async def test_a_service_that_cannot_start_takes_the_others_down_with_its_reason():
    log: list[str] = []
    app = compose([service("a", log), service("b", log, fails=True), service("c", log)])
    with pytest.raises(ConnectionRefusedError, match="b finds no database"):
        async with app.router.lifespan_context(app):
            pass
    assert log == ["a up", "a down"]


async def test_a_process_is_ready_only_if_all_its_services_are():
    app = compose([service("a", []), service("b", [], ok=False)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["services"]["b"] == [{"name": "work", "ok": False, "detail": "no"}]


async def test_each_service_of_a_process_is_asked_by_itself():
    app = compose([service("a", []), service("b", [], ok=False)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        well, ill = [await client.get(f"/health/{name}/ready") for name in "ab"]
        assert (well.status_code, ill.status_code) == (200, 503)
        assert well.json() == {
            "status": "ok",
            "services": {"a": [{"name": "work", "ok": True, "detail": ""}]},
        }
        bad = {"b": [{"name": "work", "ok": False, "detail": "no"}]}
        assert ill.json() == {"status": "unavailable", "services": bad}
        for name in "ab":
            assert (await client.get(f"/health/{name}/live")).json() == {"status": "ok"}
        for question in ("live", "ready"):
            elsewhere = await client.get(f"/health/c/{question}")
            assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not_found")


async def test_a_service_is_checked_no_more_often_however_it_is_asked_for():
    made: list[str] = []

    def counted(name: str) -> Service:
        async def checks():
            made.append(name)
            return [Check("work", ok=True)]

        return Service(name, service(name, []).lifespan, checks)

    app = compose([counted("a"), counted("b")])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in ("a/ready", "a/ready", "ready", "ready", "b/ready"):
            assert (await client.get(f"/health/{path}")).status_code == 200
        assert made == ["a", "b"]


async def test_who_asks_while_a_check_hangs_waits_for_that_one():
    made: list[str] = []
    answer = asyncio.Event()

    async def hangs():
        made.append("a")
        await answer.wait()
        return [Check("work", ok=True)]

    app = compose([Service("a", service("a", []).lifespan, hangs)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        asking = [asyncio.create_task(client.get("/health/ready")) for _ in range(5)]
        with pytest.raises(TimeoutError):  # who asked goes away, and the others still have their answer
            await asyncio.wait_for(asking[0], 0.7)
        asking[0] = asyncio.create_task(client.get("/health/a/ready"))
        answer.set()
        assert [(await each).status_code for each in asking] == [200] * 5
        assert made == ["a"]


async def test_a_check_that_crashes_or_hangs_is_a_failed_check(monkeypatch):
    monkeypatch.setattr("shared.platform.health.CHECK_TIMEOUT_SECONDS", 0.1)

    async def hangs():
        await asyncio.sleep(10)
        return []

    async def crashes():
        raise ZeroDivisionError

    for checks in (hangs, crashes):
        app = compose([Service("a", service("a", []).lifespan, checks)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/health/ready")).status_code == 503


async def test_a_check_that_its_library_cancels_is_a_failed_check():
    """As what waits for a connection that is given up."""
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    assert await in_time("store", answer) == Check("store", ok=False, detail="given up")


async def test_stopping_wakes_who_waits():
    stopping = Stopping()
    assert not await stopping.wait(0.01)
    asyncio.get_running_loop().call_later(0.05, stopping.set)
    assert await stopping.wait(5)
    assert stopping
