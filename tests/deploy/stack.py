"""The whole of deploy/compose.yaml, running."""

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from penstock.home import new_receipt_key

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES = ("upload", "processor", "results", "notifier")
VERSION = "test"  # tag of the images
NEEDED_IMAGES = ("python:3.13-slim", "postgres:18", "rabbitmq:4")
STORE_IMAGE = "versity/versitygw:v1.7.0"
START_SECONDS = 180
RECEIVER = """
import http.server, json
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        print(json.dumps({"headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 9000), Receiver).serve_forever()
"""

Found = TypeVar("Found")


class Unavailable(RuntimeError):
    """There is no Docker engine, no compose, or an image that cannot be had; the message says which."""


class Stack:
    """A project of its own beside any other: own containers, volumes and port. Where the store's image cannot be had,
    compose.moto.yaml stands in.
    """

    def __init__(self, folder: Path) -> None:
        self._compose = compose_command()
        for image in NEEDED_IMAGES:
            if not has_image(image):
                raise Unavailable(f"the image {image} cannot be had")
        self.project = f"penstocktest{uuid4().hex[:8]}"
        self._env = folder / "env"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._env.write_text(settings(self.project, port))
        self._files = [DEPLOY / "compose.yaml"]
        if not has_image(STORE_IMAGE):
            self._files.append(DEPLOY / "compose.moto.yaml")

    def start(self) -> None:
        """Build the images if need be, and start; returns when all are healthy."""
        self.compose("build", seconds=1800)
        self.compose("up", "--detach", seconds=START_SECONDS)
        wait_for(lambda: self.health("gateway") == "healthy", seconds=START_SECONDS)

    def stop(self, *options: str) -> None:
        docker("rm", "--force", f"{self.project}_receiver")
        self.compose("down", *options, seconds=180)

    def compose(self, *arguments: str, seconds: float = 60) -> str:
        files = [word for file in self._files for word in ("--file", str(file))]
        return run(*self._compose, "--env-file", str(self._env), *files, *arguments, seconds=seconds)

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def health(self, service: str) -> str:
        status: str = self.inspect(service)["State"]["Health"]["Status"]
        return status

    def crash(self, service: str) -> None:
        """SIGKILL from outside the container, so that its restart policy counts (after `docker kill` it does not)."""
        state = self.inspect(service)["State"]
        beside = ("run", "--rm", "--pid=host", "--user=0", "--entrypoint=sh")
        docker(*beside, f"penstock/upload:{VERSION}", "-c", f"kill -9 {state['Pid']}")
        wait_for(lambda: self.inspect(service)["State"]["StartedAt"] != state["StartedAt"], seconds=30)

    def token(self, tenant: str) -> str:
        words = ("token", "create", "--tenant", tenant, "--scope", "admin")
        return self.compose("exec", "-T", "results", "penstock", *words).strip()

    def client(self, tenant: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(tenant)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def sql(self, statement: str) -> str:
        inside = ("exec", "--env", f"PGPASSWORD={POSTGRES_PASSWORD}", self.container("postgres"))
        psql = ("psql", "--host=127.0.0.1", "--username=penstock", "--tuples-only", "--no-align")
        return docker(*inside, *psql, "--command", statement).strip()

    def start_receiver(self) -> str:
        """A webhook receiver in the project's network; its URL there."""
        place = ("--name", f"{self.project}_receiver", "--network", f"{self.project}_default")
        program = ("--entrypoint=python", f"penstock/notifier:{VERSION}", "-c", RECEIVER)
        docker("run", "--detach", *place, "--network-alias=receiver", *program)
        return "http://receiver:9000/"

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in docker("logs", f"{self.project}_receiver").splitlines()]


POSTGRES_PASSWORD = secrets.token_hex(12)


def settings(project: str, port: int) -> str:
    """`.env.example` as a user would fill it in, on a free port."""
    changed = {
        "COMPOSE_PROJECT_NAME": project,
        "PENSTOCK_VERSION": VERSION,
        "PENSTOCK_JWT_SECRET": secrets.token_hex(32),
        "PENSTOCK_RECEIPT_KEY": "".join(new_receipt_key().splitlines()[1:-1]),
        "PENSTOCK_PORT": str(port),
        "POSTGRES_PASSWORD": POSTGRES_PASSWORD,
        "RABBITMQ_PASSWORD": secrets.token_hex(12),
        "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    kept = [
        line
        for line in (DEPLOY / ".env.example").read_text().splitlines()
        if line.partition("=")[0] not in changed
    ]
    return "\n".join([*(f"{name}={value}" for name, value in changed.items()), *kept, ""])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def run(*command: str, seconds: float = 60) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
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


def products(count: int) -> Iterator[bytes]:
    """A CSV file of that many products, in pieces."""
    yield b"name,sku,description\n"
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        yield "".join(f"Product {n},SKU-{n:07},{'what it is good for ' * 6}{n}\n" for n in numbers).encode()
