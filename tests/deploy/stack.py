"""The whole of deploy/compose.yaml, running."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from penstock.home import new_receipt_key

ROOT = Path(__file__).parents[2]
DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES = ("upload", "processor", "results", "notifier")
VERSION = "test"  # tag of the images
NEEDED_IMAGES = ("python:3.13-slim", "postgres:18", "rabbitmq:4")
STORE_IMAGE = "versity/versitygw:v1.7.0"
START_SECONDS = 180
RECEIVER = """
import http.server, json, threading
speaking = threading.Lock()
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        heard = json.dumps({"headers": {k.lower(): v for k, v in self.headers.items()}, "body": body})
        with speaking:
            print(heard, flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 9000), Receiver).serve_forever()
"""

Found = TypeVar("Found")


class Unavailable(RuntimeError):
    """There is no Docker engine, no compose, or an image that cannot be had; the message says which."""


class Stack:
    """A project of its own beside any other: own containers, volumes and ports. Where the store's image cannot be had,
    compose.moto.yaml stands in.

    `version` is the images' tag; `deploy` the folder with the files of compose.
    """

    def __init__(self, folder: Path, *, version: str = VERSION, deploy: Path = DEPLOY) -> None:
        self._command = compose_command()
        for image in NEEDED_IMAGES:
            if not has_image(image):
                raise Unavailable(f"the image {image} cannot be had")
        self.project = f"penstocktest{uuid4().hex[:8]}"
        self.version = version
        self._folder, self._deploy = folder, deploy
        self._tokens: dict[str, str] = {}
        port, tls_port, plain_port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.tls_url = f"https://localhost:{tls_port}"
        self.plain_url = f"http://localhost:{plain_port}"
        self.certificate = folder / "secrets" / "tls.crt"
        self._given = {
            "COMPOSE_PROJECT_NAME": self.project,
            "PENSTOCK_PORT": str(port),
            "PENSTOCK_HTTPS_PORT": f"127.0.0.1:{tls_port}",
            "PENSTOCK_HTTP_PORT": f"127.0.0.1:{plain_port}",
            "PENSTOCK_SECRETS": str(folder / "secrets"),
            "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
            "PENSTOCK_UPLOADS_PER_MINUTE": "100000",
            "PENSTOCK_IMPORTS_AT_ONCE": "1000",
        }
        self._prepare()

    def _prepare(self) -> None:
        env = self._folder / ".env"
        example = (self._deploy / ".env.example").read_text()
        (self._folder / ".env.example").write_text(example)
        if (self._deploy / "prepare").exists():
            shutil.copy(self._deploy / "prepare", self._folder)
            run(str(self._folder / "prepare"))
        else:  # a version whose secrets stood in .env
            self._given |= {
                "PENSTOCK_JWT_SECRET": secrets.token_hex(32),
                "PENSTOCK_RECEIPT_KEY": "".join(new_receipt_key().splitlines()[1:-1]),
            }
            env.write_text(example)
        given = self._given | {"PENSTOCK_VERSION": self.version}
        kept = [line for line in env.read_text().splitlines() if line.partition("=")[0] not in given]
        env.write_text("\n".join([*(f"{name}={value}" for name, value in given.items()), *kept, ""]))

    def secrets(self) -> list[str]:
        """What the files hold that nobody may see; that of the certificate is public."""
        files = sorted((self._folder / "secrets").iterdir())
        return [text for file in files if file.suffix != ".crt" and (text := file.read_text().strip())]

    def become(self, *, version: str, deploy: Path) -> None:
        """From now on commands are those of another version; nothing is done to what runs."""
        self.version, self._deploy = version, deploy
        self._prepare()

    @property
    def compose_words(self) -> list[str]:
        """The command, with its files."""
        files = [self._deploy / "compose.yaml"]
        if not has_image(STORE_IMAGE):
            files.append(self._deploy / "compose.moto.yaml")
        named = [word for file in files for word in ("--file", str(file))]
        return [*self._command, "--env-file", str(self._folder / ".env"), *named]

    def start(self) -> None:
        """Build the images if need be, and start; returns when all are healthy."""
        self.build()
        self.compose("up", "--detach", seconds=START_SECONDS)
        wait_for(lambda: self.health("gateway") == "healthy", seconds=START_SECONDS)

    def build(self) -> None:
        self.compose("--profile", "operate", "build", seconds=1800)

    def stop(self, *options: str) -> None:
        docker("rm", "--force", f"{self.project}_receiver")
        self.compose("--profile", "prod", "down", *options, seconds=180)

    def compose(self, *arguments: str, seconds: float = 60) -> str:
        return run(*self.compose_words, *arguments, seconds=seconds)

    def roll(self, *services: str, ready_seconds: int = 120) -> str:
        """deploy/roll, which replaces what runs by what was built."""
        words = {"COMPOSE": " ".join(self.compose_words), "READY_SECONDS": str(ready_seconds)}
        return run(str(self._deploy / "roll"), *services, seconds=600, environment=words)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def container(self, service: str) -> str:
        [only] = self.containers(service)
        return only

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def health(self, service: str) -> str:
        status: str = self.inspect(service)["State"]["Health"]["Status"]
        return status

    def ready(self, service: str) -> list[bool]:
        """Whether each container of the service is healthy."""
        shown = ("inspect", "--format", "{{.State.Health.Status}}")
        return [docker(*shown, container).strip() == "healthy" for container in self.containers(service)]

    def crash(self, service: str) -> None:
        """SIGKILL from outside the container, so that its restart policy counts (after `docker kill` it does not)."""
        state = self.inspect(service)["State"]
        beside = ("run", "--rm", "--pid=host", "--user=0", "--entrypoint=sh")
        docker(*beside, f"penstock/upload:{self.version}", "-c", f"kill -9 {state['Pid']}")
        wait_for(lambda: self.inspect(service)["State"]["StartedAt"] != state["StartedAt"], seconds=30)

    def token(self, tenant: str) -> str:
        if tenant not in self._tokens:
            words = ("token", "create", "--tenant", tenant, "--scope", "admin")
            self._tokens[tenant] = self.compose("run", "--rm", "--no-deps", "-T", "results", *words).strip()
        return self._tokens[tenant]

    def client(self, tenant: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(tenant)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def sql(self, statement: str) -> str:
        password = (self._folder / "secrets" / "POSTGRES_PASSWORD").read_text()
        inside = ("exec", "--env", f"PGPASSWORD={password}", self.container("postgres"))
        psql = ("psql", "--host=127.0.0.1", "--username=penstock", "--tuples-only", "--no-align")
        return docker(*inside, *psql, "--command", statement).strip()

    def start_receiver(self) -> str:
        """A webhook receiver in the project's network; its URL there."""
        place = ("--name", f"{self.project}_receiver", "--network", f"{self.project}_default")
        program = ("--entrypoint=python", f"penstock/notifier:{self.version}", "-c", RECEIVER)
        docker("run", "--detach", *place, "--network-alias=receiver", *program)
        return "http://receiver:9000/"

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in docker("logs", f"{self.project}_receiver").splitlines()]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            run(*command, "version")
            docker("info")
        except (OSError, subprocess.SubprocessError):
            continue
        return command
    raise Unavailable("there is no Docker engine with compose")


def has_image(name: str) -> bool:
    try:
        docker("image", "inspect", name)
    except subprocess.SubprocessError:
        try:
            docker("pull", "--quiet", name, seconds=600)
        except subprocess.SubprocessError:
            return False
    return True


def docker(*arguments: str, seconds: float = 60) -> str:
    return run("docker", *arguments, seconds=seconds)


def run(*command: str, seconds: float = 60, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        # The end of the output says what went wrong; a CalledProcessError would not show it.
        output = (done.stdout + done.stderr)[-4000:]
        raise subprocess.SubprocessError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return done.stdout


def wait_for(look: Callable[[], Found], *, seconds: float) -> Found:
    """What `look` finds as soon as it finds something. An HTTP error counts as nothing found yet."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except httpx.HTTPError as error:
            found, last = None, repr(error)
        else:
            last = repr(found)
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds} s; last: {last}"
        time.sleep(0.2)


def products(count: int, of: str = "0") -> Iterator[bytes]:
    """A CSV file of that many products, in pieces; those of another name are others."""
    yield b"name,sku,description\n"
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        yield "".join(
            f"Product {n},SKU-{of}-{n:07},{'what it is good for ' * 6}{n}\n" for n in numbers
        ).encode()
