"""A RabbitMQ node private to one folder, from the machine's own `rabbitmq-server` program.

All of it is in H/rabbitmq of a home H: `node.json` (name and ports), the data, the cookie, `rabbitmq.log`. Nothing
of the machine's configuration is read, and only 127.0.0.1 is listened on. Erlang's port mapper, epmd, is the node's
own too, on its own port: the shared one of port 4369 would be left running by the first node for all users.
"""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from penstock.local import apt
from penstock.local.account import Account, clean_environment
from penstock.local.processes import (
    LocalServerError,
    free_port,
    is_running,
    locked,
    port_is_free,
    rotate,
    tail,
    wait_until,
)

START_SECONDS = 60.0
STOP_SECONDS = 15.0
ASK_SECONDS = 30.0
DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1, section 4.2.2
CONNECTION_START = b"\x01\x00\x00"  # a method frame on channel 0
CONFIGURATION = """\
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
"""


@dataclass(frozen=True)
class LocalRabbit:
    """A running node. `pid` is the Erlang machine's, `folder` the node's own folder."""

    url: str
    pid: int
    folder: Path

    def stop(self) -> None:
        """Orderly stop, and SIGKILL for what is left after STOP_SECONDS."""
        if self._is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            wait_until(lambda: not self._is_running(), STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for all of the node at once, as when the machine loses its power."""
        if _read_pid(self.folder) not in {None, self.pid}:
            return  # the folder belongs to a later node
        if self._is_running():
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(self.pid), signal.SIGKILL)
        node = _read_node(self.folder)
        if node:
            # A dying process loses its command line before its sockets, so the port tells when it is gone.
            wait_until(lambda: not self._is_running() and port_is_free(node.port), STOP_SECONDS)
            _end_port_mapper(node.epmd_port)

    def evaluate(self, expression: str) -> str:
        """What the node says to an Erlang expression, by `rabbitmqctl eval`.

        Raises:
            LocalServerError: it does not run, or does not understand.
        """
        node, server = _read_node(self.folder), find_server()
        if node is None or server is None:
            raise LocalServerError(f"there is no RabbitMQ node in {self.folder}")
        asked = ("--node", node.name, "--quiet", "eval", expression)
        done = Account().run(
            server.with_name("rabbitmqctl"), *asked, env=_environment(self.folder, node), timeout=ASK_SECONDS
        )
        if done.returncode != 0:
            raise LocalServerError(f"RabbitMQ in {self.folder} did not answer: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def _is_running(self) -> bool:
        return is_running(self.pid, _mark(self.folder))


@dataclass(frozen=True)
class _Node:
    name: str
    port: int
    dist_port: int
    epmd_port: int


def find_server() -> Path | None:
    """The `rabbitmq-server` script that any user may run, or None.

    What Debian and Red Hat have on the PATH is a wrapper that only root and the user `rabbitmq` may run.
    """
    on_path = shutil.which("rabbitmq-server")
    candidates = [DEBIAN_SERVER]
    if on_path and Path(on_path).resolve().name != "rabbitmq-script-wrapper":
        candidates.append(Path(on_path).resolve())
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def install_with_apt() -> Path | None:
    """Install Debian's rabbitmq-server without starting its service; None if not root, without apt, or failed."""
    return find_server() if apt.install("rabbitmq-server") else None


def start(home: Path, *, port: int | None = None) -> LocalRabbit:
    """Start the node of `home`, or adopt the one that runs already.

    The AMQP port stays the same from start to start, unless another program has taken it meanwhile or `port` says
    otherwise. Processes that start the same home wait for each other. Raises LocalServerError.
    """
    folder = home.resolve() / "rabbitmq"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / "lock"):
            return _adopt(folder, port) or _launch(folder, port)
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalServerError(
            f"RabbitMQ could not be started in {folder}: {error}. Its log, if it got that far, is "
            f"{_log(folder)}. Check who owns the folder and the room on its disk, or set PENSTOCK_HOME."
        ) from error


def running_url(home: Path) -> str | None:
    """Where the node of `home` listens; None: it does not run."""
    folder = home.resolve() / "rabbitmq"
    node, pid = _read_node(folder), _read_pid(folder)
    if node is None or pid is None or not is_running(pid, _mark(folder)):
        return None
    return _rabbit(folder, node, pid).url


def _adopt(folder: Path, port: int | None) -> LocalRabbit | None:
    node, pid = _read_node(folder), _read_pid(folder)
    if node is None or pid is None or not is_running(pid, _mark(folder)):
        return None
    wait_until(lambda: _answers(node.port) or not is_running(pid, _mark(folder)), START_SECONDS, every=0.1)
    if not is_running(pid, _mark(folder)):
        return None
    if not _answers(node.port) or port not in {None, node.port}:
        raise LocalServerError(
            f"A RabbitMQ node (process {pid}) runs in {folder}, but does not answer on port {port or node.port}. "
            f"Its log is {_log(folder)}. End it with `kill {pid}` and start again."
        )
    return _rabbit(folder, node, pid)


def _launch(folder: Path, port: int | None) -> LocalRabbit:
    server = find_server()
    if server is None:
        raise LocalServerError(
            "RabbitMQ is not installed. Install it (on Debian and Ubuntu: `apt-get install rabbitmq-server`), "
            "or set PENSTOCK_BUS_URL to a broker of yours, or unset it to use the embedded bus."
        )
    node = _plan(folder, port)
    (folder / "pid").unlink(missing_ok=True)
    rotate(_log(folder))
    before = _log(folder).stat().st_size if _log(folder).exists() else 0
    script = Account().launch(server, log=_log(folder), env=_environment(folder, node))
    wait_until(lambda: _answers(node.port) or not is_running(script, str(server)), START_SECONDS, every=0.1)
    pid = _read_pid(folder)
    if pid is None or not is_running(pid, _mark(folder)) or not _answers(node.port):
        with suppress(ProcessLookupError):
            os.killpg(os.getpgid(script), signal.SIGKILL)
        _end_port_mapper(node.epmd_port)
        raise LocalServerError(
            f"RabbitMQ did not start within {START_SECONDS:.0f} s on port {node.port}. Its log {_log(folder)} "
            f"says:\n{_complaint(folder, before)}\nPut right what it says and start again; "
            f"if its queues may be lost, delete {folder}."
        )
    return _rabbit(folder, node, pid)


def _rabbit(folder: Path, node: _Node, pid: int) -> LocalRabbit:
    return LocalRabbit(url=f"amqp://guest:guest@127.0.0.1:{node.port}/", pid=pid, folder=folder)


def _plan(folder: Path, port: int | None) -> _Node:
    """The node's name and AMQP port as they were, and new ports for what only the node itself uses."""
    old = _read_node(folder)
    if old:
        _end_port_mapper(old.epmd_port)
    if port is not None and not port_is_free(port):
        raise LocalServerError(f"Port {port} is taken by another program. Choose another one, or none.")
    # The data belong to the name: a node with another name does not see them.
    node = old or _Node(name=f"penstock-{secrets.token_hex(4)}@localhost", port=0, dist_port=0, epmd_port=0)
    kept = node.port if node.port and port_is_free(node.port) else free_port()
    node = replace(node, port=port or kept, dist_port=free_port(), epmd_port=free_port())
    part = folder / "node.json.part"
    part.write_text(json.dumps(asdict(node)))
    part.replace(folder / "node.json")
    return node


def _read_node(folder: Path) -> _Node | None:
    with suppress(FileNotFoundError):
        return _Node(**json.loads((folder / "node.json").read_text()))
    return None


def _read_pid(folder: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int((folder / "pid").read_text())
    return None


def _log(folder: Path) -> Path:
    return folder / "rabbitmq.log"


def _complaint(folder: Path, since: int) -> str:
    """The first errors, which name the cause; Erlang's log ends with pages of consequences."""
    said = tail(_log(folder), since=since, lines=500)
    errors = [line for line in said.splitlines() if "[error]" in line]
    return "\n".join(errors[:15]) or tail(_log(folder), since=since)


def _mark(folder: Path) -> str:
    """An argument of the Erlang machine that tells the node of this folder from every other one."""
    return f"-penstock {hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


def _environment(folder: Path, node: _Node) -> dict[str, str]:
    return clean_environment(
        HOME=str(folder),  # where Erlang keeps its cookie
        LC_ALL="C.UTF-8",  # Erlang takes file names in the locale's encoding
        ERL_CRASH_DUMP=str(folder / "erl_crash.dump"),
        ERL_EPMD_ADDRESS="127.0.0.1",
        ERL_EPMD_PORT=str(node.epmd_port),
        RABBITMQ_NODENAME=node.name,
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(node.port),
        RABBITMQ_DIST_PORT=str(node.dist_port),
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=f"-kernel inet_dist_use_interface {{127,0,0,1}} {_mark(folder)}",
        RABBITMQ_PID_FILE=str(folder / "pid"),
        RABBITMQ_LOGS="-",
        RABBITMQ_LOG_BASE=str(folder / "log"),
        RABBITMQ_MNESIA_BASE=str(folder / "data"),
        RABBITMQ_GENERATED_CONFIG_DIR=str(folder / "config"),
        RABBITMQ_CONFIG_FILE=str(_written(folder / "rabbitmq.conf", CONFIGURATION)),
        RABBITMQ_ADVANCED_CONFIG_FILE=str(_written(folder / "advanced.config", "[].\n")),
        RABBITMQ_CONF_ENV_FILE=str(_written(folder / "rabbitmq-env.conf", "")),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(_written(folder / "enabled_plugins", "[].\n")),
    )


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _answers(port: int) -> bool:
    """Whether an AMQP server greets on the port, which it does only when the node is up."""
    return _ask(port, PROTOCOL_HEADER, 3) == CONNECTION_START


def _end_port_mapper(port: int) -> None:
    """Ask epmd to end (KILL_REQ of Erlang's distribution protocol), which it does when its last node is gone."""
    wait_until(lambda: not _ask(port, b"\x00\x01k", 2), 2.0)


def _ask(port: int, question: bytes, length: int) -> bytes:
    with suppress(OSError), socket.socket() as connection:
        connection.settimeout(1.0)
        connection.connect(("127.0.0.1", port))
        connection.sendall(question)
        return connection.recv(length)
    return b""
