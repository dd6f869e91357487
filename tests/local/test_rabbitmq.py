"""The private RabbitMQ node, for real: each test that needs one starts its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aio_pika
import pytest

from penstock.local import account, rabbitmq
from penstock.local.processes import LocalServerError, free_port
from penstock.local.rabbitmq import LocalRabbit

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def server_program() -> Path:
    found = rabbitmq.find_server()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have rabbitmq-server")
        pytest.skip("no rabbitmq-server on this machine")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def node(server_program: Path, home: Path) -> Iterator[LocalRabbit]:
    started = rabbitmq.start(home)
    yield started
    rabbitmq.start(home).kill()


async def send(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)


async def receive(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True)
        message = await queue.get(timeout=10)
        await message.ack()
        return message.body


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_node_lives_adopts_stops_and_survives_a_kill(node: LocalRabbit, home: Path):
    await send(node.url, b"first")

    assert rabbitmq.start(home) == node
    with pytest.raises(LocalServerError, match="does not answer on port"):
        rabbitmq.start(home, port=free_port())

    node.kill()
    assert not accepts(_node(home).port)
    after_kill = rabbitmq.start(home)
    assert after_kill.pid != node.pid
    assert after_kill.url == node.url
    assert await receive(after_kill.url) == b"first"

    await send(after_kill.url, b"second")
    epmd_port = _node(home).epmd_port
    after_kill.stop()
    assert not accepts(_node(home).port)
    assert not accepts(epmd_port)
    after_kill.stop()
    assert await receive(rabbitmq.start(home).url) == b"second"


async def test_out_of_reach_of_the_terminal_and_the_network(node: LocalRabbit):
    assert os.getsid(node.pid) != os.getsid(0)
    # The kernel's list is read in pieces while other sockets come and go: what is missed once is there the next time.
    found = [_listening_addresses(_sockets(node.pid)) for _ in range(10)]
    assert set().union(*found) == {"0100007F"}


async def test_adopts_the_node_of_a_killed_process_and_moves_from_a_taken_port(
    server_program: Path, home: Path
):
    process = _start_in_another_process(home, after="os.kill(os.getpid(), signal.SIGKILL)")
    # This would hang if the node held the pipes of the process that started it.
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    node = rabbitmq.start(home)
    try:
        assert node.pid == int(output)
    finally:
        node.kill()

    port = _node(home).port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(LocalServerError, match="is taken"):
            rabbitmq.start(home, port=port)
        moved = rabbitmq.start(home)
        moved.kill()
    assert moved.url != node.url


async def test_processes_that_start_at_once_share_one_node(server_program: Path, home: Path):
    processes = [_start_in_another_process(home) for _ in range(3)]
    outputs = [process.communicate(timeout=90) for process in processes]
    node = rabbitmq.start(home)
    node.kill()

    assert {int(output) for output, _ in outputs} == {node.pid}, outputs


async def test_error_says_what_the_log_says_and_where_it_is(server_program: Path, home: Path, monkeypatch):
    monkeypatch.setattr(rabbitmq, "CONFIGURATION", "no_such_key = 1\n")

    with pytest.raises(LocalServerError, match="no_such_key") as failure:
        rabbitmq.start(home)

    assert str(home / "rabbitmq" / "rabbitmq.log") in str(failure.value)


async def test_no_program(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rabbitmq, "find_server", lambda: None)

    with pytest.raises(LocalServerError, match="is not installed"):
        rabbitmq.start(home)


async def test_wrapper_of_the_package_is_not_taken_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wrapper = tmp_path / "rabbitmq-script-wrapper"
    wrapper.write_text("#!/bin/sh\n")
    wrapper.chmod(0o755)
    (tmp_path / "rabbitmq-server").symlink_to(wrapper)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rabbitmq, "DEBIAN_SERVER", tmp_path / "missing")
    assert rabbitmq.find_server() is None

    (tmp_path / "rabbitmq-server").unlink()
    (tmp_path / "rabbitmq-server").write_text("#!/bin/sh\n")
    (tmp_path / "rabbitmq-server").chmod(0o755)
    assert rabbitmq.find_server() == tmp_path / "rabbitmq-server"


async def test_apt_is_for_root_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert rabbitmq.install_with_apt() is None


@pytest.fixture
def ordinary_user() -> Iterator[account.Account]:
    name = f"pst-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", name], check=True)
    try:
        entry = account.pwd.getpwnam(name)
        yield account.Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    finally:
        # Forced, since zombies that init has not collected yet count as processes of the user.
        subprocess.run(["userdel", "--force", name], check=True, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_ordinary_user(server_program: Path, ordinary_user: account.Account):
    folder = Path(tempfile.mkdtemp(prefix="pst-"))
    ordinary_user.own(folder)
    # Python itself may be closed to that user, so it becomes that user after it has started.
    drop = f"os.setgroups([]); os.setgid({ordinary_user.gid}); os.setuid({ordinary_user.uid})"
    process = _start_in_another_process(folder / "home", before=drop)
    try:
        output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
        assert (folder / "home" / "rabbitmq" / "data").stat().st_uid == ordinary_user.uid
        assert rabbitmq.start(folder / "home").pid == int(output)
    finally:
        rabbitmq.start(folder / "home").kill()
        shutil.rmtree(folder)


def _start_in_another_process(home: Path, *, before: str = "", after: str = "") -> subprocess.Popen[str]:
    script = f"""
        import os, signal
        from pathlib import Path
        from penstock.local import rabbitmq
        {before}
        server = rabbitmq.start(Path({str(home)!r}))
        print(server.pid, flush=True)
        {after}
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _node(home: Path) -> rabbitmq._Node:
    node = rabbitmq._read_node(home / "rabbitmq")
    assert node is not None
    return node


def _sockets(pid: int) -> set[str]:
    descriptors = Path(f"/proc/{pid}/fd")
    if not descriptors.exists():
        pytest.skip("reads /proc")
    found = set()
    for path in descriptors.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(path.readlink()))
    return found


def _listening_addresses(sockets: set[str]) -> set[str]:
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {
        fields[1].split(":")[0]
        for fields in lines
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets
    }
