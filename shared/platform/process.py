"""Running services: uvicorn, signals, and leaving in time."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from socket import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from shared.platform.edge.protocol import HttpProtocol
from shared.platform.service import Service, Stopping, compose
from shared.platform.settings import ProcessSettings
from shared.platform.telemetry import errors, tracing

# Objects more than gone, of each generation, until Python looks for those that refer to each other. By default it does so
# hundreds of times a second here, and every now and then among all that there is, which holds everybody up for 0.1 s.
COLLECT_AFTER = (10_000, 20, 20)
ANSWER_SECONDS = 2  # what requests in hand get to end by themselves when the process stops


class Server(uvicorn.Server):
    """uvicorn, which tells the services at once that the process was asked to stop."""

    def __init__(
        self, config: uvicorn.Config, stopping: Stopping, on_ready: Callable[[], None] | None = None
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _spare_what_stays()
            if self._on_ready:
                self._on_ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await asyncio.sleep(0)  # so that whoever waits at the door is let in before it closes
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)


def _spare_what_stays() -> None:
    """Have the garbage collector look at what comes from now on, and not at modules, routes and settings each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def server_config(app: ASGIApp, settings: ProcessSettings, *, host: str, port: int) -> uvicorn.Config:
    """How uvicorn serves an application of ours."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=HttpProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=ANSWER_SECONDS,
        server_header=False,
        # What a proxy says of the caller is believed of those that are named, of nobody else.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=",".join(settings.trusted_proxies),
    )


def serve(
    services: Sequence[Service],
    stopping: Stopping,
    *,
    host: str,
    port: int,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run `services` in this process until SIGTERM or SIGINT.

    Requests in hand get `ANSWER_SECONDS`, then they are answered 503; consumers get `stop_seconds`.

    Raises:
        SystemExit: the port is taken, or a service could not start; the reason is in the log.
    """
    settings = ProcessSettings()
    app = compose(services, settings, stopping)
    server = Server(server_config(app, settings, host=host, port=port), stopping, on_ready)
    try:
        server.run()  # which raises the signal again that has ended it
    finally:
        tracing.close()
        errors.close()
    if not server.started:
        raise SystemExit(3)
