"""What both local servers need from the operating system: locks, ports and detached processes."""

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 180.0  # longer than the slowest start that can hold the lock
EXEC_SECONDS = 0.02  # a process that is just replacing its program has no command line for some microseconds
LOG_LIMIT_BYTES = 10 * 1024 * 1024


class LocalServerError(RuntimeError):
    """A local server could not be started; the message says what happened, where its log is and what to do."""


def process_exists(pid: int) -> bool:
    """Whether any process, of any user, has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_running(pid: int, arguments: str) -> bool:
    """Whether `pid` is a process whose command line holds `arguments`, which tells a server from a zombie and a reused id.

    The command line, unlike the working folder, can be read by root in a container without CAP_SYS_PTRACE.
    """
    line = _command_line(pid)
    if not line and process_exists(pid):
        time.sleep(EXEC_SECONDS)
        line = _command_line(pid)
    return f" {arguments} " in f" {line} "


def _command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return os.fsdecode(raw.rstrip(b"\0").replace(b"\0", b" "))
    if not process_exists(pid):
        return ""
    listed = subprocess.run(  # noqa: S603 - a constant program, and a number
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()


def wait_until(condition: Callable[[], bool], seconds: float, *, every: float = 0.02) -> bool:
    """Whether `condition` came true within `seconds`, asked each `every` seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against every other process; raises LocalServerError after LOCK_SECONDS."""
    # Read only is enough for flock, and lets a lock file made by root serve everybody.
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        if not wait_until(lambda: _try_lock(descriptor), LOCK_SECONDS):
            raise LocalServerError(
                f"Another process has been starting the server of {path.parent} for {LOCK_SECONDS:.0f} s. "
                f"Find it with `fuser {path}`, end it, and try again."
            )
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1; connections that just ended do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def rotate(log: Path) -> None:
    """Keep a log that is appended to at every start from growing for ever: one older file is kept."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".old"))


def tail(log: Path, *, since: int = 0, lines: int = 15) -> str:
    """The last lines that were written to `log` after the byte offset `since`."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - 64 * 1024))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
