"""The order of things when a process stops: requests clean up before the services that they need are gone."""

import asyncio
import json
import logging
import signal
from contextlib import asynccontextmanager
from threading import Thread
from time import monotonic, sleep

import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from shared.platform import process
from shared.platform.edge import InHand, protocol
from shared.platform.process import Server, server_config
from shared.platform.service import Service, Stopping, compose
from shared.platform.settings import ProcessSettings
from tests.platform.serving import WAIT_SECONDS, Door

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


class Stoppable:
    """A server in a thread, told to stop as by a signal; `happened` is what did, in order."""

    def __init__(self):
        self.happened = []
        settings, stopping = ProcessSettings(), Stopping()
        app = compose([Service("a", self._lifespan, self._checks, self._routes())], settings, stopping)
        self._server = Server(server_config(app, settings, host="127.0.0.1", port=0), stopping)
        self._thread = Thread(target=self._server.run)
        self._thread.start()
        self._wait(lambda: self._server.started)
        self.door = Door(self._server.servers[0].sockets[0].getsockname()[1])

    def _wait(self, condition):
        until = monotonic() + WAIT_SECONDS
        while not condition() and monotonic() < until:
            sleep(0.01)
        assert condition()

    def ask(self, peer, path):
        peer.send(GET % path)
        self._wait(lambda: "asked" in self.happened)

    def begin_to_stop(self):
        """Returns when nobody can connect any more."""
        self._server.handle_exit(signal.SIGTERM, None)
        self._wait(lambda: not self._server.servers[0].sockets)

    def connected(self):
        """Returns when the server knows of a connection."""
        self._wait(lambda: self._server.server_state.connections)

    def stop(self):
        if self._thread.is_alive():
            self._server.handle_exit(signal.SIGTERM, None)
            self._thread.join(WAIT_SECONDS)
            logging.getLogger("uvicorn.access").propagate = True  # which the server has put off

    @asynccontextmanager
    async def _lifespan(self):
        yield
        self.happened.append("left")

    async def _checks(self):
        return []

    def _routes(self):
        routes = APIRouter()

        @routes.get("/short")
        async def short():
            return "answered"

        @routes.get("/long")
        async def long():
            self.happened.append("asked")
            try:
                await asyncio.sleep(WAIT_SECONDS)
            finally:
                await asyncio.sleep(0.3)
                self.happened.append("cleaned up")

        @routes.get("/begun")
        async def begun():
            async def body():
                yield "first"
                self.happened.append("asked")
                await asyncio.sleep(WAIT_SECONDS)

            return StreamingResponse(body())

        return routes


@pytest.fixture
def stoppable(monkeypatch):
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.2)
    made = Stoppable()
    yield made
    made.stop()


def test_a_request_cleans_up_while_its_service_is_there_and_is_answered(stoppable):
    with stoppable.door.peer() as peer:
        stoppable.ask(peer, b"long")
        stoppable.stop()
        head, _, body = peer.read().partition(b"\r\n\r\n")
    assert stoppable.happened == ["asked", "cleaned up", "left"]
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 2\r\n" in head
    assert b"x-request-id: " in head
    assert json.loads(body)["code"] == "service_stopping"


def test_an_answer_that_has_begun_is_cut_off(stoppable):
    with stoppable.door.peer() as peer:
        stoppable.ask(peer, b"begun")
        stoppable.stop()
        answer = peer.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"first" in answer
    assert not answer.endswith(b"0\r\n\r\n")  # so that it does not look complete


def test_a_request_on_its_way_over_a_new_connection_is_answered(monkeypatch):
    monkeypatch.setattr(process, "ANSWER_SECONDS", WAIT_SECONDS)
    monkeypatch.setattr(protocol, "FIRST_SECONDS", WAIT_SECONDS)
    stoppable = Stoppable()
    try:
        with stoppable.door.peer() as peer:
            stoppable.connected()
            stoppable.begin_to_stop()
            peer.send(GET % b"short")
            answer = peer.read()
    finally:
        stoppable.stop()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()


def test_a_connection_without_a_request_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(process, "ANSWER_SECONDS", 10 * WAIT_SECONDS)
    monkeypatch.setattr(protocol, "FIRST_SECONDS", 0.1)
    stoppable = Stoppable()
    with stoppable.door.peer() as peer:
        stoppable.connected()
        stoppable.stop()
        assert peer.read() == b""


async def test_nobody_waits_for_requests_that_do_not_end():
    in_hand = InHand()
    await in_hand.none(WAIT_SECONDS)
    with in_hand:
        await in_hand.none(0.01)
        ending = asyncio.create_task(in_hand.none(WAIT_SECONDS))
        await asyncio.sleep(0)
        assert not ending.done()
    await ending
