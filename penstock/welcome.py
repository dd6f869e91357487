"""What `penstock up` does once its services run, as any client could: the samples, and the page of addresses."""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from rich.console import Console

from penstock import samples
from penstock.home import Home
from penstock.progress import say
from penstock.tokens import DEMO_TENANT, link_token
from shared.client import ClientError, PenstockClient


@dataclass(frozen=True)
class Options:
    """How `penstock up` was asked to run.

    Attributes:
        exit_when_done: End by itself after the samples.
        rabbitmq: Run each service as a process of its own, on RabbitMQ.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    samples: bool = True
    exit_when_done: bool = False
    rabbitmq: bool = False

    @property
    def url(self) -> str:
        """The address for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - it is replaced
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Welcome:
    """Imports the samples and prints the addresses, in a thread beside the server.

    Attributes:
        exit_code: What the process shall end with; not 0 if samples did not end as they must, with `exit_when_done`.
    """

    def __init__(
        self,
        options: Options,
        home: Home,
        token: str,
        console: Console,
        *,
        begun_before: bool,
        on_imported: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_imported` is called when the samples are there."""
        self.exit_code = 1 if options.exit_when_done else 0
        self._options = options
        self._home = home
        self._begun_before = begun_before
        self._on_imported = on_imported
        self._token = token
        self._console = console

    def begin(self) -> None:
        """Start, without waiting."""
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            faults = self._import_samples()
            for fault in faults:
                say(self._console, fault, style="red")
            if not self._options.exit_when_done:
                say(self._console, self._page())
            elif not faults:
                say(self._console, "Every sample import ended as it must.")
                self.exit_code = 0
        finally:
            if self._options.exit_when_done:
                os.kill(os.getpid(), signal.SIGTERM)

    def _import_samples(self) -> list[str]:
        try:
            with PenstockClient(self._options.url, self._token) as client:
                client.wait_until_ready()
                if not self._options.samples:
                    return []
                faults = samples.import_all(
                    client, samples.bundled(), self._console, begun_before=self._begun_before
                )
                self._on_imported()
                return faults
        except ClientError as error:
            return [f"Penstock does not get ready: {error}"]
        except Exception as error:  # noqa: BLE001 - in a thread of its own, what is not said here nobody hears
            return [f"the samples were not imported: {type(error).__name__}: {error}"]

    def _page(self) -> str:
        url, home = self._options.url, self._home
        elsewhere = (
            f", PostgreSQL's in {home.database}" if home.database else ", and in the database you named"
        )
        token_file = shlex.quote(str(home.token_file))
        other_url = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
        return f"""
Penstock is up at {url} - stop it with Ctrl-C

  console   {url}/sign-in#{link_token(home)}
            signs in for 12 hours; later, or elsewhere, sign in with the token
  API docs  {url}/docs
  token     {self._token}
            kept in {home.token_file} (tenant {DEMO_TENANT}, scope admin, for a year)
  data      {home.path}{elsewhere}
  logs      warnings come here, everything with PENSTOCK_LOG_LEVEL=info; PostgreSQL's are {home.path}/postgres.log
{_about_webhooks()}
  try       curl -H "Authorization: Bearer $(cat {token_file})" {url}/api/v1/imports
            {_command()} import FILE --dataset books{other_url}
"""


def _about_webhooks() -> str:
    if os.environ.get("PENSTOCK_WEBHOOK_ALLOW_PRIVATE") != "true":
        return ""
    return "  webhooks  may go to this machine and to private addresses; PENSTOCK_WEBHOOK_ALLOW_PRIVATE=false forbids it\n"


def _command() -> str:
    """How to call this program from the current folder."""
    if shutil.which("penstock"):
        return "penstock"
    return shlex.quote(os.path.relpath(Path(sys.executable).with_name("penstock")))
