"""A real RabbitMQ for the tests: by URL, in Docker, or installed on the machine; in that order.

PENSTOCK_TEST_DOCKER=no leaves Docker out.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from penstock.local import rabbitmq

IMAGE = "rabbitmq:4"
START_SECONDS = 90


class Broker(Protocol):
    """A broker that a test may kill and start again, at the same URL and with its data, or freeze for a while."""

    url: str

    def kill(self) -> None: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def close(self) -> None: ...


class GivenBroker:
    """Somebody else's broker: it can be used, not killed."""

    def __init__(self, url: str) -> None:
        self.url = url

    def kill(self) -> None:
        raise NotImplementedError("the broker of PENSTOCK_TEST_BUS_URL is not ours to kill; unset it")

    def start(self) -> None:
        raise NotImplementedError

    def freeze(self) -> None:
        raise NotImplementedError("the broker of PENSTOCK_TEST_BUS_URL is not ours to stop; unset it")

    def thaw(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class LocalBroker:
    """A private node of the machine's RabbitMQ."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._node = rabbitmq.start(home)
        self.url = self._node.url

    def kill(self) -> None:
        self._node.kill()

    def start(self) -> None:
        self._node = rabbitmq.start(self._home)

    def freeze(self) -> None:
        os.kill(self._node.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._node.pid, signal.SIGCONT)

    def close(self) -> None:
        self._node.stop()
        shutil.rmtree(self._home, ignore_errors=True)


class DockerBroker:
    """A container on a port of its own, the same after a restart."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        self._port = _free_port()
        self._container = DockerContainer(IMAGE).with_bind_ports(5672, self._port)
        self._container.start()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/"
        _wait_for_amqp(self._port)

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        _wait_for_amqp(self._port)

    def freeze(self) -> None:
        self._container.get_wrapped_container().pause()

    def thaw(self) -> None:
        self._container.get_wrapped_container().unpause()

    def close(self) -> None:
        self._container.stop()


def find(home: Path) -> tuple[Broker | None, str]:
    """A started broker and where it came from, or None and why there is none."""
    if url := os.environ.get("PENSTOCK_TEST_BUS_URL"):
        return GivenBroker(url), "PENSTOCK_TEST_BUS_URL"
    reason = "Docker not asked" if os.environ.get("PENSTOCK_TEST_DOCKER") == "no" else _why_not_docker()
    if reason is None:
        return DockerBroker(), f"Docker image {IMAGE}"
    if rabbitmq.find_server() or rabbitmq.install_with_apt():
        return LocalBroker(home), "rabbitmq-server of this machine"
    return (
        None,
        f"no PENSTOCK_TEST_BUS_URL; {reason}; no rabbitmq-server on this machine, and none could be installed",
    )


# In a process of its own: where no engine answers, the client leaves its socket open, which is a warning here.
_PROBE = f"""
import docker
client = docker.from_env(timeout=60)
client.ping()
try:
    client.images.get({IMAGE!r})
except docker.errors.ImageNotFound:
    client.images.pull({IMAGE!r})
"""


def _why_not_docker() -> str | None:
    probe = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROBE], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        reason = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"no Docker engine with {IMAGE} ({reason[:200]})"
    # The clean-up container of testcontainers is one more image; each broker here is closed by its fixture.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_amqp(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                if connection.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(f"RabbitMQ on port {port} did not answer within {START_SECONDS} s")
