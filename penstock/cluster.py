"""`penstock up --rabbitmq`: the four services as four processes on RabbitMQ, behind one gateway."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rich.console import Console

from penstock import embedded
from penstock.gateway import gateway
from penstock.home import Home
from penstock.local.processes import free_port, is_running, wait_until
from penstock.progress import say
from penstock.registry import NAMES
from penstock.welcome import Options, Welcome
from shared.platform.process import Server, server_config
from shared.platform.service import Stopping
from shared.platform.settings import ProcessSettings

RESTART_SECONDS = 0.5
STOP_SECONDS = 6.0  # PENSTOCK_STOP_SECONDS and a little; what is left then is killed, which costs nothing


def run_cluster(options: Options, home: Home, welcome: Welcome, console: Console) -> None:
    """Run the four processes and the gateway until told to stop.

    Raises:
        LocalServerError: RabbitMQ is not installed, or does not start.
    """
    with embedded.broker(home) as bus_url:
        os.environ["PENSTOCK_BUS_URL"] = bus_url
        stopping = Stopping()
        processes = Processes(home.path / "processes.json", stopping, console)
        processes.end_leftovers()
        app = gateway(processes.urls, processes.running)
        config = server_config(app, ProcessSettings(), host=options.host, port=options.port)
        server = Server(config, stopping, welcome.begin)
        server.run()
        if not server.started:
            raise SystemExit(3)


class Processes:
    """The four services, each a process on its own port, started again whenever it ends.

    `record` is the file that tells the next `penstock up` which processes this one had, should it be killed.
    """

    def __init__(self, record: Path, stopping: Stopping, console: Console) -> None:
        self._record = record
        self._stopping = stopping
        self._console = console
        self._ports = {name: free_port() for name in NAMES}
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of each service."""
        return {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep all of them running while entered, or until the process is told to stop."""
        keepers = [asyncio.create_task(self._keep(name)) for name in NAMES]
        ending = asyncio.create_task(self._end_on_stop())
        try:
            yield
        finally:
            self._stopping.set()
            await asyncio.gather(ending, *keepers)
            self._record.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """Kill the services of a `penstock up` that was killed itself."""
        with suppress(FileNotFoundError, ValueError):
            for pid, arguments in json.loads(self._record.read_text()):
                if is_running(pid, arguments):
                    _kill(pid, arguments)

    async def _keep(self, name: str) -> None:
        while not self._stopping:
            process = await self._start(name)
            code = await process.wait()
            if not self._stopping:
                say(self._console, f"{name} (process {process.pid}) ended with {code}; starting it again")
                await self._stopping.wait(RESTART_SECONDS)

    async def _start(self, name: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *_arguments(name, self._ports[name]).split(),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which stops the others in order
        )
        self._processes[name] = process
        if self._stopping:
            process.terminate()
        self._record.write_text(
            json.dumps([(each.pid, _arguments(of, self._ports[of])) for of, each in self._processes.items()])
        )
        return process

    async def _end_on_stop(self) -> None:
        while not await self._stopping.wait(3600):
            pass
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(process.wait() for process in self._processes.values()))
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.kill()


def _kill(pid: int, arguments: str) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid, arguments), 5.0)


def _arguments(name: str, port: int) -> str:
    return f"-m penstock serve {name} --port {port}"
