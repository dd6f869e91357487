"""A trial of the way back: PostgreSQL to a moment before a mistake, RabbitMQ from nothing, files from an earlier copy.

PostgreSQL 18 comes with Penstock's wheels, RabbitMQ from the machine (Debian's rabbitmq-server). What it does is what
deploy/RUNBOOK.md says; each line of the output is one thing that was checked. Exit 0: all of them held.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx

from penstock.home import new_receipt_key
from penstock.local import postgres, rabbitmq
from penstock.local.account import server_account
from penstock.local.postgres_programs import programs_for
from penstock.local.processes import free_port
from penstock.registry import MIGRATIONS, NAMES
from shared.contracts.routes import service_for
from shared.platform.auth import create_jwt
from shared.platform.database import migrate

TENANT = "acme"
PATIENCE_SECONDS = 120.0
SMALL, LARGE = 5_000, 150_000  # records; a large file is several slices
DATABASE_SCHEMAS = ("upload", "processor", "data", "results", "notifier", "auth")
JWT_SECRET = os.urandom(32).hex()
BUS_LOST = "no queue of the old RabbitMQ is there any more"

Found = TypeVar("Found")


class Failed(Exception):
    """Something that should hold does not; the message says what."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="deploy/trials/restore", description=__doc__)
    parser.add_argument("--embedded", action="store_true", help="the bus on PostgreSQL, instead of RabbitMQ")
    parser.add_argument("--keep", action="store_true", help="keep the folder, with logs, backup and archive")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="penstock-restore-"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            Trial(folder, stack, embedded=options.embedded).run()
    except Failed as error:
        sys.exit(f"FAILED: {error}")
    finally:
        say(f"Logs, backup and archive are in {folder}") if options.keep else shutil.rmtree(folder)


class Trial:
    """The whole of it; `stack` stops what was started."""

    def __init__(self, folder: Path, stack: ExitStack, *, embedded: bool) -> None:
        self.folder = folder
        self.embedded = embedded
        self.stack = stack
        self.store, self.archive, self.backup = (folder / name for name in ("store", "archive", "backup"))
        self.account = server_account()
        for made in (self.archive, self.backup):
            made.mkdir(mode=0o700)
            self.account.own(made)
        self.receiver = stack.enter_context(receiving())
        self.services: Services | None = None

    def run(self) -> None:
        archiving = f"test ! -f {self.archive}/%f && cp %p {self.archive}/.%f && mv {self.archive}/.%f {self.archive}/%f"
        server = self._server("first", archive_mode="on", archive_command=archiving)
        asyncio.run(execute(server.url, "CREATE DATABASE penstock"))
        migrate(server.url_of("penstock"), MIGRATIONS)
        self._start_services(server, "first")

        self._before(server)
        moment, was = self._note_the_moment(server)
        self._after_it()
        self._lose_everything(server)

        began = time.monotonic()
        server = self._restored(moment)
        now = self._fingerprint(server)
        same(
            {name for name in was.keys() | now if was.get(name) != now.get(name)}, set(), "tables that differ"
        )
        say(
            f"restored     to {moment} in {time.monotonic() - began:.1f} s; every row of {len(was)} tables is as it was"
        )
        self._go_on(server)

    # Before the mistake

    def _before(self, server: postgres.LocalPostgres) -> None:
        """Two imports with webhooks, a base backup, and three more: one done, one in the middle, one not begun."""
        api = self.api
        api("POST", "/webhooks", json={"url": self.receiver.url, "event_types": ["import.*", "product.*"]})
        self.done = [self._imported("a"), self._imported("b")]
        self._back_up(server)
        self.done.append(self._imported("c"))
        self.receipts = {each: api("GET", f"/imports/{each}/receipt") for each in self.done}
        self.half = self._upload("large", LARGE)
        begun = (
            "SELECT 1 FROM processor.imports WHERE import_id = $1 AND slice >= 1 AND status = 'processing'"
        )
        self._wait(lambda: self._rows(server, begun, self.half), "the large import begins")
        self._services.kill("processor")
        self.waiting = self._upload("waiting", SMALL)
        # Not what the processor had not published yet when it was killed: it does so when it is back.
        relayed = (
            "SELECT 1 WHERE NOT EXISTS"
            " (SELECT FROM bus.outbox WHERE queue LIKE 'relay.%' AND queue <> 'relay.processor')"
        )
        self._wait(lambda: self._rows(server, relayed), "RabbitMQ confirms all that was published")
        [work] = self._rows(
            server, "SELECT slice, rows_processed FROM processor.imports WHERE import_id = $1", self.half
        )
        say(
            f"imports      {len(self.done)} done, one stopped after {work['rows_processed']:,} of {LARGE:,} records,"
            f" one not begun: nobody but {'the outbox' if self.embedded else 'RabbitMQ'} knows that it is to be done"
        )

    def _back_up(self, server: postgres.LocalPostgres) -> None:
        asked = parse_qs(urlsplit(server.url).query)
        began = time.monotonic()
        self._program(
            "pg_basebackup",
            *(f"--host={asked['host'][0]}", f"--port={asked['port'][0]}", "--username=postgres"),
            *(f"--pgdata={self.backup}", "--checkpoint=fast", "--manifest-checksums=SHA256"),
        )
        seconds = time.monotonic() - began
        files = verified(self.backup)
        say(
            f"backup       {size_of(self.backup) / 2**20:.0f} MiB by pg_basebackup in {seconds:.1f} s;"
            f" its {files:,} files are as its manifest says"
        )

    def _note_the_moment(self, server: postgres.LocalPostgres) -> tuple[str, dict[str, tuple[int, int]]]:
        """A moment when nothing moves, and what the tables hold then."""
        self._wait(
            lambda: {each["type"] for each in self.receiver.received} >= {"import.completed"},
            "webhooks arrive",
        )
        seen: list[dict[str, tuple[int, int]]] = []

        def settled() -> bool:
            seen.append(self._fingerprint(server))
            time.sleep(1.5)
            return seen[-2:-1] == seen[-1:]

        self._wait(settled, "nothing moves any more")
        [row] = self._rows(server, "SELECT clock_timestamp()::text AS moment")
        self.told = len(self.receiver.received)
        time.sleep(1.0)
        return row["moment"], seen[-1]

    def _after_it(self) -> None:
        """All goes on, one more file comes in; then somebody deletes all products."""
        self._services.start("processor")
        for each in (self.half, self.waiting):
            self._ended(each)
        self.late = self._imported("late")
        self._wait(lambda: self._told().keys() == {self.half, self.waiting, self.late}, "webhooks arrive")
        deleted = self.api("DELETE", "/records/products?confirm=products")
        same(self._count(), 0, "the mistake: no products are left")
        say(
            f"mistake      after that all is done, one more file comes, and {deleted['deleted']:,} products are deleted"
        )

    def _lose_everything(self, server: postgres.LocalPostgres) -> None:
        """The last WAL is archived; then services, database and broker are gone. Of the files an earlier copy is there."""
        [row] = self._rows(server, "SELECT pg_walfile_name(pg_switch_wal()) AS name")
        self._wait((self.archive / row["name"]).exists, "the last WAL is archived")
        self._services.stop()
        os.kill(server.pid, signal.SIGKILL)
        segments = [path for path in self.archive.iterdir() if len(path.name) == 24]
        say(f"archive      {len(segments)} segments of WAL, {size_of(self.archive) / 2**20:.0f} MiB")

    # The way back

    def _restored(self, moment: str) -> postgres.LocalPostgres:
        home = self._home("second")
        data = home / "data"
        self._copied(self.backup, data)
        (home / "postgres").symlink_to("data")
        (data / "recovery.signal").touch()
        self.account.own(data / "recovery.signal")
        server = self._server(
            "second",
            restore_command=f"cp {self.archive}/%f %p",
            recovery_target_time=moment,
            recovery_target_action="promote",
        )
        over = "SELECT 1 WHERE NOT pg_is_in_recovery()"  # until then it answers, and what it shows is older
        self._wait(lambda: self._rows(server, over), "the recovery ends")
        return server

    def _go_on(self, server: postgres.LocalPostgres) -> None:
        missing = next((self.store / "uploads").rglob(f"*{self.half}*"))
        missing.rename(self.folder / "missing")
        self._start_services(server, "second")
        say(f"start        all services are ready{'' if self.embedded else '; ' + BUS_LOST}")

        tried = "SELECT 1 FROM bus.outbox WHERE queue = 'processor.imports' AND attempts_count > 0"
        self._wait(lambda: self._rows(server, tried), "the import without its file is tried again")
        same(self.api("GET", f"/imports/{self.half}")["status"], "processing", "it waits for its file")
        (self.folder / "missing").rename(missing)
        self._ended(self.half)
        say(
            "file back    an import whose file was missing from the store waited, and ended well once it was back"
        )

        if not self.embedded:
            self._resume(server)
        self._ended(self.waiting)
        say(
            f"not begun    {'went on by itself' if self.embedded else 'found by `penstock imports stuck`, and `penstock imports resume` let it go on'}"
        )

        say(f"rebuild      {self._penstock('rebuild', 'results').strip()}")
        self._verify()
        self._send_again()
        same(self._count(), 3 * SMALL + LARGE + 2 * SMALL, "every record of every file is there once")
        say(f"records      {self._count():,} products: those of every file, each once")
        self._webhooks()

    def _resume(self, server: postgres.LocalPostgres) -> None:
        known = self._rows(server, "SELECT 1 FROM processor.imports WHERE import_id = $1", self.waiting)
        same(known, [], "with RabbitMQ went the message that the import is to be done")
        stuck = json.loads(self._penstock("imports", "stuck", "--minutes", "0", "--json", exit_code=1))
        same([each["import_id"] for each in stuck], [self.waiting], "imports that stand still")
        self._penstock("imports", "resume", self.waiting)

    def _verify(self) -> None:
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps(self.api("GET", "/receipts/keys")))
        for import_id, before in self.receipts.items():
            same(self.api("GET", f"/imports/{import_id}/receipt"), before, "a receipt is as it was")
            receipt, file = self.folder / "receipt.json", self.folder / "file.csv"
            receipt.write_text(json.dumps(before))
            file.write_bytes(self._request("GET", f"/imports/{import_id}/file").content)
            self._penstock("verify", str(receipt), "--keys", str(keys), "--file", str(file))
        say(
            f"receipts     {len(self.receipts)} as before, byte by byte; `penstock verify` finds each valid, and of its file"
        )

    def _send_again(self) -> None:
        """What came after the moment is unknown; its file is still in the store, and may be sent again."""
        same(self._request("GET", f"/imports/{self.late}").status_code, 404, "what came later is unknown")
        [left] = (self.store / "uploads").rglob(f"*{self.late}*")
        again = self.folder / "again.csv"
        again.write_bytes(left.read_bytes())
        self._ended(self._send(again))
        say("newer file   that of the import after the moment lay unused in the store, and was sent again")

    def _webhooks(self) -> None:
        self._wait(
            lambda: self._told_twice() == {self.half, self.waiting}, "webhooks of what ended after the moment"
        )
        before = {each["id"] for each in self.receiver.received[: self.told]}
        after = {each["id"] for each in self.receiver.received[self.told :]}
        same(before & after, set(), "what was told before the moment is not told again")
        say(
            "webhooks     what was told before the moment is not told again; what ended after it is, under new ids"
        )

    def _told(self) -> Counter[str]:
        """How many webhooks have told, since the moment, that an import is completed; by import."""
        messages = {each["id"]: json.loads(each["body"]) for each in self.receiver.received[self.told :]}
        ended = (each["data"] for each in messages.values() if each["type"] == "import.completed")
        return Counter(each["import_id"] for each in ended)

    def _told_twice(self) -> set[str]:
        return {import_id for import_id, count in self._told().items() if count > 1}

    # Small things

    def _home(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir(mode=0o755, exist_ok=True)
        self.account.own(home)
        return home

    def _server(self, name: str, **settings: str) -> postgres.LocalPostgres:
        always = {"wal_level": "replica", "max_wal_senders": "4", "max_wal_size": "1GB"}
        server = postgres.start(self._home(name), settings=always | settings)
        self.stack.callback(server.stop)
        return server

    def _start_services(self, server: postgres.LocalPostgres, name: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
        environment |= {
            "PENSTOCK_DATABASE_URL": server.url_of("penstock"),
            "PENSTOCK_STORE_URL": self.store.as_uri(),
            "PENSTOCK_JWT_SECRET": JWT_SECRET,
            "PENSTOCK_RECEIPT_KEY": RECEIPT_KEY,
            "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        if not self.embedded:
            node = rabbitmq.start(self._home(name))
            self.stack.callback(node.stop)
            environment["PENSTOCK_BUS_URL"] = node.url
        self.services = Services(environment, self.folder)
        self.stack.callback(self.services.stop)
        self.services.start(*NAMES)

    @property
    def _services(self) -> "Services":
        assert self.services is not None
        return self.services

    def _program(self, name: str, *arguments: str | Path) -> None:
        done = self.account.run(programs_for(self.account) / name, *arguments)
        if done.returncode:
            raise Failed(f"{name}: {done.stderr or done.stdout}")

    def _copied(self, source: Path, target: Path) -> None:
        done = self.account.run("cp", "--archive", source, target)
        if done.returncode:
            raise Failed(done.stderr)

    def _penstock(self, *arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run(  # noqa: S603 - this program's own commands
            [sys.executable, "-m", "penstock", *arguments],
            cwd=self.folder,
            env=self._services.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != exit_code:
            raise Failed(
                f"penstock {' '.join(arguments)}: exit code {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self._services.request(method, f"/api/v1{path}", **request)

    def api(self, method: str, path: str, **request: Any) -> Any:
        response = self._request(method, path, **request)
        if response.is_error:
            raise Failed(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def _imported(self, name: str) -> str:
        import_id = self._upload(name, SMALL)
        self._ended(import_id)
        return import_id

    def _upload(self, name: str, records: int) -> str:
        file = self.folder / f"{name}.csv"
        lines = (
            f"{name}-{number:06},Bolt {number},{'steel ' * 10},{number % 97}\n" for number in range(records)
        )
        file.write_text("sku,name,description,stock_quantity\n" + "".join(lines))
        return self._send(file)

    def _send(self, file: Path) -> str:
        with file.open("rb") as content:
            answer = self.api(
                "POST", "/uploads", data={"dataset": "products"}, files={"file": (file.name, content)}
            )
        return str(answer["id"])

    def _ended(self, import_id: str) -> None:
        def ended() -> Any:
            shown = self.api("GET", f"/imports/{import_id}")
            return shown if shown["status"] in {"completed", "failed", "cancelled"} else None

        same(
            self._wait(ended, f"import {import_id} ends")["status"],
            "completed",
            f"import {import_id} is completed",
        )

    def _count(self) -> int:
        return int(self.api("GET", "/records/products?limit=1&total=exact")["total"])

    def _rows(self, server: postgres.LocalPostgres, query: str, *values: Any) -> list[asyncpg.Record]:
        return asyncio.run(fetch(server.url_of("penstock"), query, *values))

    def _fingerprint(self, server: postgres.LocalPostgres) -> dict[str, tuple[int, int]]:
        """By table: how many rows, and the sum of their hashes."""
        return asyncio.run(fingerprint(server.url_of("penstock")))

    def _wait(self, holds: Callable[[], Found], what: str) -> Found:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if found := holds():
                return found
            time.sleep(0.1)
        raise Failed(f"not so after {PATIENCE_SECONDS:.0f} s: {what}")


class Services:
    """The four services, each a process on its own port."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self._ports = {name: free_port() for name in NAMES}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        token = create_jwt(
            JWT_SECRET, tenant=TENANT, scopes=["admin"], audience="penstock", lifetime=timedelta(hours=1)
        )
        self._http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False)

    def start(self, *names: str) -> None:
        """Start these, and wait until they are ready."""
        for name in names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(  # noqa: S603 - this program's own commands
                    [sys.executable, "-m", "penstock", "serve", name, "--port", str(self._ports[name])],
                    cwd=self._folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )
        until = time.monotonic() + PATIENCE_SECONDS
        for name in names:
            while not self._is_ready(name):
                if self._running[name].poll() is not None or time.monotonic() > until:
                    raise Failed(
                        f"{name} did not start: {(self._folder / f'{name}.log').read_text()[-2000:]}"
                    )
                time.sleep(0.2)

    def _is_ready(self, name: str) -> bool:
        with suppress(httpx.TransportError):
            return self._http.get(f"http://127.0.0.1:{self._ports[name]}/health/ready").is_success
        return False

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running[name].wait()

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        name = service_for(path.partition("?")[0])
        assert name is not None, path
        return self._http.request(method, f"http://127.0.0.1:{self._ports[name]}{path}", **request)


class Receiver:
    """What webhooks arrived, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[dict[str, str]] = []


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver of webhooks on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            told = json.loads(body)["type"]
            receiver.received.append({"id": self.headers["webhook-id"], "type": told, "body": body})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def fetch(url: str, query: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def fingerprint(url: str) -> dict[str, tuple[int, int]]:
    tables = """
        SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = ANY($1) ORDER BY 1
    """
    connection = await asyncpg.connect(url)
    try:
        found = {}
        for row in await connection.fetch(tables, list(DATABASE_SCHEMAS)):
            summed = (
                f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {row['name']} t"  # noqa: S608 - the catalogue's own names
            )
            [(count, hashes)] = await connection.fetch(summed)
            found[row["name"]] = (count, int(hashes))
        return found
    finally:
        await connection.close()


def same(found: object, expected: object, what: str) -> None:
    """Raises Failed unless they are equal."""
    if found != expected:
        raise Failed(f"{what}: {found!r}, not {expected!r}")


def verified(backup: Path) -> int:
    """How many files the backup has by its manifest; as pg_verifybackup does it, which the wheel has, but damaged.

    Raises:
        Failed: one of them is not as the manifest says.
    """
    files = json.loads((backup / "backup_manifest").read_text())["Files"]
    for file in files:
        path = backup / (file.get("Path") or bytes.fromhex(file["Encoded-Path"]).decode())
        same(hashlib.sha256(path.read_bytes()).hexdigest(), file["Checksum"], f"SHA-256 of {path}")
    return len(files)


def size_of(folder: Path) -> int:
    """Bytes of the files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


RECEIPT_KEY = new_receipt_key()

if __name__ == "__main__":
    main()
