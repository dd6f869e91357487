"""Two processes of each service behind the gateway that deploy/gateway describes, each of which may be replaced."""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from penstock.local import apt
from penstock.registry import NAMES
from tests.e2e.stack import ROOT, Stack, free_port

REPLICAS = 2
START_SECONDS = 180.0  # of eight processes at once, on a slow machine too
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # where Debian has it, and deploy/gateway looks


class Replicated(Stack):
    """A stack whose processes are called `upload-0`, `upload-1` and so on; its URLs are the gateway's."""

    gateway: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ports = {f"{name}-{number}": free_port() for name in NAMES for number in range(REPLICAS)}
        self.gateway = f"http://127.0.0.1:{free_port()}"

    async def ready(self, name: str, seconds: float = START_SECONDS) -> None:
        await super().ready(name, seconds)

    def _command(self, name: str) -> list[str]:
        return ["-m", "penstock", "serve", name.partition("-")[0], "--port"]

    def url(self, path: str) -> str:
        return f"{self.gateway}/api/v1{path}"

    async def replace(self, names: list[str]) -> float:
        """SIGTERM, and a new one in its place; how many seconds the slowest took to leave."""
        slowest = max(await asyncio.gather(*(asyncio.to_thread(self.stop, name) for name in names)))
        await self.started(*names)
        return slowest


@contextmanager
def nginx(stack: Replicated, folder: Path) -> Iterator[None]:
    """The gateway of deploy/gateway, where names are those of processes of this machine instead of containers."""
    if not STREAM.exists():
        apt.install("libnginx-mod-stream")
    program = shutil.which("nginx")
    if not program or not STREAM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs nginx with its stream module")
    (folder / "temp").mkdir()
    folder.chmod(0o755)
    written = folder / "nginx.conf"
    written.write_text(_configuration(stack, folder))
    with (folder / "nginx.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-c", str(written), "-p", str(folder), "-e", str(folder / "early.log")],
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + 30
        while server.poll() is None:
            with suppress(httpx.TransportError):
                httpx.get(f"{stack.gateway}/health/live", trust_env=False)
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        assert server.poll() is None, (folder / "nginx.log").read_text()
        yield
    finally:
        server.terminate()
        server.wait()


def _configuration(stack: Replicated, folder: Path) -> str:
    text = (ROOT / "deploy/gateway/nginx.conf").read_text()
    text = re.sub(r"/tmp/(\w+)", rf"{folder}/temp/\1", text)  # noqa: S108 - of the text
    text = text.replace("listen 8000;", f"listen {stack.gateway.removeprefix('http://')};")
    text = text.replace("127.0.0.1:8001", f"127.0.0.1:{free_port()}")
    text = text.replace("/dev/stdout", f"{folder}/access.log").replace("include mime.types;", "")
    # Names of groups, which nginx looks for before it asks a resolver; a group has its ports itself.
    text = re.sub(r"http://\$(service|each):8000", r"http://$\1", text)
    text = text.replace("proxy_pass $results:8000;", "proxy_pass results;")
    groups = "\n".join(f"upstream {name} {{ {_servers(stack, name)} }}" for name in NAMES)
    text = text.replace("stream {\n", f"stream {{\nupstream results {{ {_servers(stack, 'results')} }}\n", 1)
    user = "user root;\n" if os.geteuid() == 0 else ""  # its workers must reach the test's folder
    return user + text.replace("http {\n", f"http {{\n{groups}\n", 1)


def _servers(stack: Replicated, name: str) -> str:
    # As with names of containers, which are looked up each time, none is left out for having been away.
    ports = [stack.ports[f"{name}-{number}"] for number in range(REPLICAS)]
    return " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
