"""Penstock as a person starts it: real processes, a real home, a real port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from penstock.local import postgres
from penstock.local.processes import free_port
from shared.client import PenstockClient

PENSTOCK = (sys.executable, "-m", "penstock")
READY = "Penstock is up at"
START_SECONDS = 60
OFTEN = {"PENSTOCK_UPLOADS_PER_MINUTE": "1000"}  # tests send as often as they like
STOP_SECONDS = 10  # what users are promised


def clean_environment(**values: str) -> dict[str, str]:
    """This process's environment without its own PENSTOCK_ settings, and with `values`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | values


def penstock(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [*PENSTOCK, *map(str, arguments)],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def in_process(*arguments: str | Path, **environment: str) -> Result:
    """The command, run in this process, which takes a tenth of the time; from a test with an event loop, in a thread."""
    from penstock.cli import app

    return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)


class Up:
    """A `penstock up` that runs."""

    def __init__(self, home: Path, *arguments: str, port: int | None = None, **environment: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.with_name("output.txt")
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [*PENSTOCK, "up", "--port", str(self.port), *arguments],
                env=clean_environment(**{"PENSTOCK_HOME": str(home), **OFTEN, **environment}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def client(self) -> PenstockClient:
        return PenstockClient(self.url, self.token)

    def wait_for(self, text: str) -> "Up":
        wait_until(lambda: text in self.output or self.process.poll() is not None, START_SECONDS)
        assert text in self.output, self.output
        return self

    def wait_until_ready(self) -> "Up":
        return self.wait_for(READY)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; fails if it takes longer than promised. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def end_postgres(home: Path) -> None:
    """Stop the embedded server that a killed `penstock up` left behind."""
    if (home / "postgres" / "postmaster.pid").exists():
        postgres.start(home).stop()


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def products(path: Path, count: int) -> Path:
    """A file of `count` good products."""
    with path.open("w") as file:
        file.write("name,sku,description\n")
        file.writelines(f"Gate {number},G-{number},Oak and iron\n" for number in range(count))
    return path
