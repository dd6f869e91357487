"""An application of ours behind a real server on a loopback port, and clients that send what they like."""

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from threading import Thread
from time import monotonic, sleep

import uvicorn
from fastapi import APIRouter

from penstock.signals import stopped_by_signals
from shared.platform.process import serve, server_config
from shared.platform.service import Service, Stopping, compose
from shared.platform.settings import ProcessSettings

WAIT_SECONDS = 20.0  # for what must happen; whoever waits that long has failed


@asynccontextmanager
async def _nothing():
    yield


async def _no_checks():
    return []


def service_of(routes: APIRouter, *, streams=()) -> Service:
    return Service("a", _nothing, _no_checks, routes, streams=frozenset(streams))


def serve_until_sigterm(last: Callable[[], None]) -> None:
    """A whole process' life, in this one: when it is ready, `last` is done and SIGTERM comes."""

    def ready() -> None:
        last()
        signal.raise_signal(signal.SIGTERM)

    with stopped_by_signals():
        serve([service_of(APIRouter())], Stopping(), host="127.0.0.1", port=0, on_ready=ready)


@dataclass
class Peer:
    """One connection to the server."""

    socket: socket.socket

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def trickle(self, data: bytes, *, every: float) -> None:
        """Send byte by byte until all is sent, or the server has closed."""
        self.socket.settimeout(every)
        for position in range(len(data)):
            try:
                self.socket.sendall(data[position : position + 1])
                if self.socket.recv(1, socket.MSG_PEEK) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        self.socket.settimeout(WAIT_SECONDS)

    def read(self, until: bytes | None = None) -> bytes:
        """What comes until the server closes, or `until` has come; fails if neither happens."""
        data = b""
        while until is None or until not in data:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
        return data


@dataclass
class Door:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def peer(self) -> Iterator[Peer]:
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)) as connection:
            yield Peer(connection)

    def ask(self, data: bytes) -> bytes:
        """Send it all; what comes until the server closes."""
        with self.peer() as peer:
            peer.send(data)
            return peer.read()


@contextmanager
def served(service: Service, **settings) -> Iterator[Door]:
    """`service` behind uvicorn, as `penstock serve` runs it, in a thread."""
    chosen = ProcessSettings(**settings)
    app = compose([service], chosen)
    server = uvicorn.Server(server_config(app, chosen, host="127.0.0.1", port=0))
    thread = Thread(target=server.run)
    thread.start()
    try:
        until = monotonic() + WAIT_SECONDS
        while not server.started and thread.is_alive() and monotonic() < until:
            sleep(0.01)
        yield Door(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(WAIT_SECONDS)
        logging.getLogger("uvicorn.access").propagate = True  # which the server has put off
