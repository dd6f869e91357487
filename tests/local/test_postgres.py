"""The private PostgreSQL server, for real: each test starts its own."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.local import account, postgres, postgres_programs
from penstock.local.postgres import LocalPostgres
from penstock.local.processes import LocalServerError

REPOSITORY = Path(__file__).parents[2]
FAST = {"fsync": "off", "shared_buffers": "32MB"}

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="tells how root runs the server")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

Start = Callable[[Path], LocalPostgres]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="pst-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def root_folder(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(account, "ROOT_FOLDER", open_folder / "var")
    return open_folder / "var"


@pytest.fixture
def start(root_folder: Path) -> Iterator[Start]:
    started: list[LocalPostgres] = []

    def start_and_remember(home: Path) -> LocalPostgres:
        started.append(postgres.start(home, settings=FAST))
        return started[-1]

    yield start_and_remember
    for server in started:
        server.stop()


async def query(url: str, statement: str):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def start_in_another_process(home: Path, *, before: str = "", after: str = "") -> subprocess.Popen[str]:
    script = f"""
        import os, signal, sys
        from pathlib import Path
        from penstock.local import account, postgres
        account.ROOT_FOLDER = Path({str(account.ROOT_FOLDER)!r})
        {before}
        server = postgres.start(Path({str(home)!r}), settings={FAST!r})
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


def is_alive(server: LocalPostgres) -> bool:
    return postgres._is_postmaster(server.pid, server.data_dir)


def kill(server: LocalPostgres) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert postgres.wait_until(lambda: not is_alive(server), 10)


async def test_first_start_makes_a_database(open_folder: Path, start: Start):
    server = start(open_folder / "home")

    assert (await query(server.url, "SHOW server_version")).startswith("18.")
    assert await query(server.url, "SHOW server_encoding") == "UTF8"
    assert await query(server.url, "SELECT lower('ÄÉ') COLLATE \"C\" < 'z'") is False
    assert server.data_dir.parent == open_folder / "home"
    assert server.data_dir == (open_folder / "home" / "postgres").resolve()
    assert server.data_dir.stat().st_mode & 0o777 == 0o700


async def test_durable_unless_told_otherwise(open_folder: Path):
    server = postgres.start(open_folder / "home")
    try:
        assert await query(server.url, "SHOW fsync") == "on"
        assert await query(server.url, "SHOW synchronous_commit") == "on"
        assert await query(server.url, "SHOW max_connections") == "200"
    finally:
        server.stop()


async def test_url_is_understood_by_asyncpg_and_sqlalchemy_in_any_environment(
    open_folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "203.0.113.1")
    server = start(open_folder / "home")
    await query(server.url, 'CREATE DATABASE "räum e"')

    assert await query(server.url_of("räum e"), "SELECT current_database()") == "räum e"
    engine = create_async_engine(server.url_of("räum e").replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_database()")) == "räum e"
    await engine.dispose()


@linux_only
async def test_does_not_listen_on_tcp(open_folder: Path, start: Start):
    server = start(open_folder / "home")

    assert not _tcp_sockets() & _open_files(server.pid)
    assert await query(server.url, "SHOW listen_addresses") == ""


async def test_second_start_adopts(open_folder: Path, start: Start):
    assert start(open_folder / "home") == start(open_folder / "home")


async def test_stop_then_start_keeps_the_data(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    await query(server.url, "CREATE TABLE kept ()")
    server.stop()
    assert not is_alive(server)
    server.stop()

    again = start(open_folder / "home")

    assert await query(again.url, "SELECT to_regclass('kept')::text") == "kept"


async def test_adopts_the_server_of_a_killed_process(open_folder: Path, start: Start):
    process = start_in_another_process(open_folder / "home", after="os.kill(os.getpid(), signal.SIGKILL)")
    # This would hang if the server held the pipes of the process that started it.
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    server = start(open_folder / "home")

    assert server.pid == int(output)
    assert os.getpgid(server.pid) not in {os.getpgid(0), process.pid}
    assert os.getsid(server.pid) != os.getsid(0)


async def test_killed_server_keeps_what_was_committed(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    await query(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(server)

    again = start(open_folder / "home")

    assert again.pid != server.pid
    assert await query(again.url, "SELECT answer FROM kept") == 42


async def test_starts_again_though_a_backend_outlived_the_killed_server(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    connection = await asyncpg.connect(server.url)
    busy = asyncio.create_task(
        connection.fetchval("SELECT count(*) FROM generate_series(1, 8000000) i WHERE i % 3 = 0")
    )
    await asyncio.sleep(0.3)
    kill(server)

    again = await asyncio.to_thread(start, open_folder / "home")

    assert await query(again.url, "SELECT 1") == 1
    await asyncio.gather(busy, return_exceptions=True)
    connection.terminate()


async def test_lock_files_whose_id_belongs_to_another_program(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    kill(server)
    other = _sleep_as_the_servers_user()
    for lock_file in (server.data_dir / "postmaster.pid", server.data_dir / f"{postgres.SOCKET_NAME}.lock"):
        lock_file.write_text(lock_file.read_text().replace(str(server.pid), str(other.pid)))

    again = start(open_folder / "home")

    assert await query(again.url, "SELECT 1") == 1
    assert other.poll() is None
    other.kill()
    other.wait()


async def test_server_whose_socket_was_taken_away_is_started_again(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    (server.data_dir / postgres.SOCKET_NAME).unlink()

    again = start(open_folder / "home")

    assert again.pid != server.pid
    assert await query(again.url, "SELECT 1") == 1


async def test_home_deleted_under_a_running_server(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    shutil.rmtree(open_folder / "home")

    anew = start(open_folder / "home")
    os.kill(server.pid, signal.SIGQUIT)  # what the server does to itself once it misses its lock file
    assert postgres.wait_until(lambda: not is_alive(server), 10)

    assert anew.pid != server.pid
    assert await query(anew.url, "SELECT 1") == 1
    assert start(open_folder / "home") == anew


async def test_interrupted_first_start_is_begun_anew(open_folder: Path, start: Start):
    (open_folder / "home" / "postgres-1.part").mkdir(parents=True)
    (open_folder / "home" / "postgres-1.part" / "half").touch()
    (open_folder / "home" / "postgres").symlink_to("postgres-1")

    assert await query(start(open_folder / "home").url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["long" * 40, "a b,c:$HOME`id`'\"ü%41"])
async def test_path_that_no_socket_may_have(open_folder: Path, start: Start, name: str):
    server = start(open_folder / name)

    assert await query(server.url, "SELECT 1") == 1
    socket_dir = _socket_dir(server)
    assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert start(open_folder / name) == server
    server.stop()
    assert not socket_dir.exists()


async def test_folder_for_the_socket_that_another_user_could_have_made_is_not_used(
    open_folder: Path, start: Start
):
    home = open_folder / ("long" * 40)
    server = start(home)
    squatted = _socket_dir(server)
    server.stop()
    squatted.mkdir()
    squatted.chmod(0o777)

    again = start(home)

    try:
        assert await query(again.url, "SELECT 1") == 1
        assert list(squatted.iterdir()) == []
        assert start(home) == again
    finally:
        squatted.rmdir()


async def test_processes_that_start_at_once_share_one_server(open_folder: Path, start: Start):
    processes = [start_in_another_process(open_folder / "home") for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert {int(output) for output, _ in outputs} == {start(open_folder / "home").pid}, outputs


async def test_error_says_what_the_log_says_and_where_it_is(open_folder: Path):
    with pytest.raises(LocalServerError, match="shared_buffers") as failure:
        postgres.start(open_folder / "home", settings={"shared_buffers": "much"})

    assert str(open_folder / "home" / "postgres.log") in str(failure.value)


async def test_home_that_is_a_file(open_folder: Path):
    (open_folder / "home").touch()

    with pytest.raises(LocalServerError, match="could not be started"):
        postgres.start(open_folder / "home")


async def test_missing_wheel(open_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_programs.importlib.util, "find_spec", lambda _: None)

    with pytest.raises(LocalServerError, match=r"penstock\[embedded\]"):
        postgres.start(open_folder / "home")


@root_only
async def test_root_with_a_closed_home(open_folder: Path, start: Start, root_folder: Path):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = start(closed / "home")
    await query(server.url, "CREATE TABLE old ()")

    assert server.data_dir.parent == root_folder
    assert server.data_dir.stat().st_uid == account.server_account().uid
    assert (closed / "home" / "postgres").resolve() == server.data_dir
    assert closed.stat().st_mode & 0o777 == 0o700
    assert start(closed / "home") == server

    shutil.rmtree(closed / "home")
    anew = start(closed / "home")
    assert anew.data_dir != server.data_dir
    assert await query(anew.url, "SELECT to_regclass('old')::text") is None


@root_only
async def test_root_with_a_closed_virtualenv(
    open_folder: Path, start: Start, root_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    package = postgres_programs._package()
    shutil.copytree(package, closed / package.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs", symlinks=True)
    monkeypatch.syspath_prepend(closed)

    server = start(closed / "home")
    (copy,) = (path for path in _entries(root_folder) if path.name.startswith("postgresql-18."))
    copied_at = copy.stat().st_mtime_ns
    server.stop()
    start(closed / "home")

    assert await query(server.url, "SELECT 1") == 1
    assert copy.stat().st_mtime_ns == copied_at
    assert closed.stat().st_mode & 0o777 == 0o700
    assert _entries(root_folder) == {copy, server.data_dir}


@root_only
async def test_data_of_another_user(open_folder: Path, start: Start):
    server = start(open_folder / "home")
    server.stop()
    os.chown(server.data_dir, 0, 0)

    with pytest.raises(LocalServerError, match="belong to the user with id 0"):
        start(open_folder / "home")


@root_only
async def test_home_that_was_closed_later(open_folder: Path, start: Start):
    start(open_folder / "home").stop()
    (open_folder / "home").chmod(0o700)

    with pytest.raises(LocalServerError, match="chmod"):
        start(open_folder / "home")


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


@root_only
async def test_ordinary_user(open_folder: Path, ordinary_user: account.Account):
    if not ordinary_user.can_enter(postgres_programs._package()):
        pytest.skip("the virtualenv is closed to other users")
    home = open_folder / "own" / "home"
    home.parent.mkdir()
    ordinary_user.own(home.parent)
    # Python itself may be closed to that user, so it becomes that user after it has started.
    drop = f"os.setgroups([]); os.setgid({ordinary_user.gid}); os.setuid({ordinary_user.uid})"
    process = start_in_another_process(home, before=drop, after="sys.stdin.readline(); server.stop()")
    process_output, errors = await asyncio.to_thread(process.communicate, timeout=60)

    assert process.returncode == 0, errors
    assert int(process_output) > 0
    assert (home / "postgres").stat().st_uid == ordinary_user.uid
    assert not (home / "postgres" / "postmaster.pid").exists()


def _sleep_as_the_servers_user() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], user=account.server_account().uid)


def _socket_dir(server: LocalPostgres) -> Path:
    return Path((server.data_dir / "postmaster.pid").read_text().splitlines()[4])


def _entries(folder: Path) -> set[Path]:
    return set(folder.iterdir())


def _open_files(pid: int) -> set[str]:
    return {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}


def _tcp_sockets() -> set[str]:
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {f"socket:[{line.split()[9]}]" for line in lines}
