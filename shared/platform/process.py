"""Running services: uvicorn, signals, and leaving in time."""

from collections.abc import Callable, Sequence
from socket import socket
from types import FrameType

import uvicorn

from shared.platform.service import Service, Stopping, compose


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
        if self.started and self._on_ready:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)


def serve(
    services: Sequence[Service],
    stopping: Stopping,
    *,
    host: str,
    port: int,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run `services` in this process until SIGTERM or SIGINT. Requests in hand get 2 s, consumers `stop_seconds`.

    Raises:
        SystemExit: the port is taken, or a service could not start; the reason is in the log.
    """
    app = compose(services)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = Server(config, stopping, on_ready)
    server.run()
    if not server.started:
        raise SystemExit(3)
