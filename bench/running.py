"""Penstock as it runs: real processes on a database of the bench, and a client outside of them."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from bench import files
from bench.bench import Bench, NotMeasured, say
from penstock.home import new_receipt_key
from penstock.local import rabbitmq
from penstock.local.processes import free_port, tail
from penstock.local.rabbitmq import LocalRabbit
from shared.client import ClientError, Json, PenstockClient
from shared.platform.auth import create_jwt

ROOT = Path(__file__).parent.parent
SECRET = secrets.token_hex(32)
TENANT = "bench"
WARM_UP_ROWS = 100  # for what only the first import after a start has to do
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Process:
    """One process of Penstock, or of another module of this checkout, on a port of its own."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        module: str = "penstock",
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._name = " ".join(command) or module
        self._log = folder / f"{port}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", module, *command, "--port", str(port)],
                cwd=ROOT,  # where `penstock` is this checkout's, whatever is installed
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the bench, which stops its processes in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Raises NotMeasured if it ends, or does not answer in time."""
        deadline = time.monotonic() + START_SECONDS
        with PenstockClient(self.url, "none") as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    client.wait_until_ready(patience=0.5)
                except ClientError:
                    continue
                return
        log = tail(self._log)
        raise NotMeasured(
            f"{self._name} did not start: {log.rpartition(chr(10))[2]}\nIts log ends with:\n{log}"
        )

    def peak_memory(self) -> int:
        """The most memory that the process ever had, in bytes (VmHWM of proc(5)).

        Raises:
            NotMeasured: this system does not tell.
        """
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            raise NotMeasured("peak memory is read from /proc, which this system does not have")
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024

    def stop(self) -> None:
        """In order, and after STOP_SECONDS by force."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Penstock:
    """A running Penstock: where its upload and its results are, and its processors."""

    upload_url: str
    results_url: str
    processors: Sequence[Process]

    def import_file(
        self, file: Path, expected: Mapping[str, int], *, dataset: str = "products", tenant: str = TENANT
    ) -> float:
        """Seconds from the request until a client hears that the import is completed.

        Raises:
            NotMeasured: it ended in another way, or its counts are not those `expected`.
        """
        began = time.perf_counter()
        with self._client(self.upload_url, tenant) as client:
            accepted = client.upload(file, dataset=dataset, fields={"force": True})
        uploaded = time.perf_counter() - began
        final = self._followed(accepted["id"], tenant)
        seconds = time.perf_counter() - began
        counted = {name: final[name] for name in expected}
        if final["status"] != "completed" or counted != expected:
            raise NotMeasured(
                f"the import of {file.name} {final['status']} with {counted} instead of {dict(expected)}: "
                f"{final['error_message']}"
            )
        say(
            f"{file.name}: {seconds:.2f} s; accepted after {uploaded:.2f} s, processed in {_processed(final):.2f} s"
        )
        return seconds

    def _followed(self, import_id: str, tenant: str) -> Json:
        with self._client(self.results_url, tenant) as client:
            for _ in client.follow(import_id):
                pass
            return client.import_status(import_id)

    def _client(self, url: str, tenant: str) -> PenstockClient:
        return PenstockClient(url, bench_token(tenant))


def bench_token(tenant: str = TENANT) -> str:
    """What opens the Penstock of a bench."""
    return create_jwt(
        SECRET, tenant=tenant, scopes=["admin"], audience="penstock", lifetime=timedelta(hours=12)
    )


def _processed(final: Json) -> float:
    """Seconds that the processor says it took."""
    ended, began = (
        datetime.fromisoformat(final[f"processing_{moment}_at"]) for moment in ("completed", "started")
    )
    return (ended - began).total_seconds()


@contextmanager
def penstock_up(bench: Bench, database_url: str) -> Iterator[Penstock]:
    """All four services in one process, as `penstock up` runs them, after a first small import."""
    with ExitStack() as stack:
        environment = _environment(bench, stack, database_url)
        (process,) = _started(bench, stack, [("up", "--no-samples")], environment)
        penstock = Penstock(process.url, process.url, [process])
        few = files.products(stack.enter_context(bench.subfolder("warm-up")) / "few.csv", WARM_UP_ROWS)
        penstock.import_file(few, {"rows_inserted": WARM_UP_ROWS}, tenant="warm-up")
        yield penstock


@contextmanager
def penstock_apart(bench: Bench, database_url: str, *, processors: int = 1) -> Iterator[Penstock]:
    """Upload, results and `processors` processors, each in a process of its own."""
    with ExitStack() as stack:
        environment = _environment(bench, stack, database_url)
        names = ["upload", "results", *["processor"] * processors]
        upload, results, *others = _started(bench, stack, [("serve", name) for name in names], environment)
        yield Penstock(upload.url, results.url, others)


@dataclass(frozen=True)
class Cluster:
    """Every service in processes of its own, on a RabbitMQ of their own, and a receiver of webhooks beside them.

    Attributes:
        services: The processes of each service.
        store: The folder of uploaded files.
    """

    penstock: Penstock
    services: Mapping[str, Sequence[Process]]
    receiver: Process
    broker: LocalRabbit
    store: Path


@contextmanager
def cluster(bench: Bench, database_url: str, *, processors: int = 1) -> Iterator[Cluster]:
    """The four services as they are deployed, with `processors` processors.

    Raises:
        NotMeasured: this machine has no RabbitMQ.
    """
    if rabbitmq.find_server() is None:
        raise NotMeasured("needs a rabbitmq-server on this machine")
    with ExitStack() as stack:
        broker = rabbitmq.start(stack.enter_context(bench.subfolder("broker")))
        stack.callback(broker.stop)
        environment = {
            **_environment(bench, stack, database_url),
            "PENSTOCK_BUS_URL": broker.url,
            "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        names = ["upload", "results", "notifier", *["processor"] * processors]
        started = _started(bench, stack, [("serve", name) for name in names], environment)
        receiver = Process((), environment, bench.folder, module="bench.hooks")
        stack.callback(receiver.stop)
        receiver.wait_until_ready()
        upload, results, notifier, *others = started
        services = {"upload": [upload], "results": [results], "notifier": [notifier], "processor": others}
        store = Path(urlsplit(environment["PENSTOCK_STORE_URL"]).path)
        yield Cluster(Penstock(upload.url, results.url, others), services, receiver, broker, store)


@contextmanager
def upload_and_receiver(bench: Bench, database_url: str) -> Iterator[tuple[Process, Process]]:
    """The upload service alone, and beside it a server that only reads and hashes what is sent to it."""
    with ExitStack() as stack:
        environment = _environment(bench, stack, database_url)
        (upload,) = _started(bench, stack, [("serve", "upload")], environment)
        receiver = Process((), environment, bench.folder, module="bench.receiver")
        stack.callback(receiver.stop)
        receiver.wait_until_ready()
        yield upload, receiver


@contextmanager
def notifier_alone(
    bench: Bench, database_url: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Process]:
    """One notifier, with further settings."""
    with ExitStack() as stack:
        environment = {**_environment(bench, stack, database_url), **settings}
        (notifier,) = _started(bench, stack, [("serve", "notifier")], environment)
        yield notifier


@contextmanager
def notifier_beside(bench: Bench, database_url: str, module: str) -> Iterator[tuple[Process, Process]]:
    """One notifier, and beside it a module of this checkout that serves what is measured with it, on the same database."""
    with ExitStack() as stack:
        environment = _environment(bench, stack, database_url)
        (notifier,) = _started(bench, stack, [("serve", "notifier")], environment)
        other = Process((), environment, bench.folder, module=module)
        stack.callback(other.stop)
        other.wait_until_ready()
        yield notifier, other


@contextmanager
def notifier_and_receiver(bench: Bench, database_url: str) -> Iterator[tuple[Process, Process]]:
    """One notifier, which may call this machine, and a receiver of webhooks."""
    with ExitStack() as stack:
        environment = _environment(bench, stack, database_url) | {"PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true"}
        (notifier,) = _started(bench, stack, [("serve", "notifier")], environment)
        receiver = Process((), environment, bench.folder, module="bench.hooks")
        stack.callback(receiver.stop)
        receiver.wait_until_ready()
        yield notifier, receiver


def _started(
    bench: Bench, stack: ExitStack, commands: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> list[Process]:
    """A process for each command, all of them ready; they end with `stack`."""
    processes = []
    for command in commands:
        process = Process(command, environment, bench.folder)
        stack.callback(process.stop)
        processes.append(process)
    for process in processes:
        process.wait_until_ready()
    return processes


def _environment(bench: Bench, stack: ExitStack, database_url: str) -> dict[str, str]:
    """Settings of a Penstock of its own, whose home goes with `stack`; none of them comes from outside."""
    home = stack.enter_context(bench.subfolder("home"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_DATABASE_URL": database_url,
        "PENSTOCK_STORE_URL": (home / "store").as_uri(),
        "PENSTOCK_JWT_SECRET": SECRET,
        "PENSTOCK_RECEIPT_KEY": new_receipt_key(),
        "PENSTOCK_LOG_LEVEL": "warning",
        "PENSTOCK_UPLOADS_PER_MINUTE": "100000",
        "PENSTOCK_IMPORTS_AT_ONCE": "100000",
    }
