"""`penstock serve`, `migrate` and the command itself."""

import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from penstock.cli import SERVICES
from penstock.local.processes import free_port
from penstock.registry import MIGRATIONS, NAMES
from shared.platform.database import migrate_async
from tests.cli.given import PENSTOCK, clean_environment, penstock, wait_until
from tests.conftest import JWT_SECRET, RECEIPT_KEY, new_database

GOOD = {
    "PENSTOCK_DATABASE_URL": "postgresql://penstock@127.0.0.1:1/penstock",
    "PENSTOCK_STORE_URL": "file:///tmp",
    "PENSTOCK_JWT_SECRET": JWT_SECRET,
    "PENSTOCK_RECEIPT_KEY": RECEIPT_KEY,
}


DATABASE, STORE, SECRET, RECEIPTS = GOOD
NEEDED = {
    "upload": {DATABASE, STORE, SECRET},
    "processor": {DATABASE, STORE},
    "results": {DATABASE, STORE, SECRET, RECEIPTS},
    "notifier": {DATABASE, SECRET},
}


def test_the_command_line_and_the_registry_know_the_same_services() -> None:
    assert SERVICES == NAMES


@pytest.mark.parametrize("service", NAMES)
def test_each_missing_setting_is_one_line(service: str) -> None:
    done = penstock("serve", service)

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(NEEDED[service])
    assert all(" is not set" in line and "Example: PENSTOCK_" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PENSTOCK_JWT_SECRET", "short", "must have at least 32 bytes"),
        ("PENSTOCK_DATABASE_URL", "mysql://localhost/x", "must begin with postgresql://"),
        ("PENSTOCK_STORE_URL", "/var/files", "must begin with file://"),
        ("PENSTOCK_BUS_URL", "localhost:5672", "must begin with amqp://"),
        ("PENSTOCK_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("PENSTOCK_DATABASE_POOL_SIZE", "many", "valid integer"),
    ],
)
def test_each_wrong_setting_is_one_line(name: str, value: str, said: str) -> None:
    done = penstock("serve", "upload", **(GOOD | {name: value}))

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(name)
    assert said in line


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    done = penstock("serve", "upload", **(GOOD | {"PENSTOCK_JWT_SECRET": "hush"}))

    assert "hush" not in done.stdout + done.stderr


def test_an_unknown_service() -> None:
    done = penstock("serve", "everything")

    assert done.returncode == 2
    assert "there are: upload, processor, results, notifier" in done.stderr


@pytest.mark.parametrize("service", NAMES)
def test_a_service_serves_and_stops_in_order(
    service: str, environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    with (tmp_path / "output.txt").open("w+") as output:
        arguments = [*PENSTOCK, "serve", service, "--port", str(port)]
        process = subprocess.Popen(
            arguments, env=clean_environment(**environment), stdout=output, stderr=subprocess.STDOUT
        )
        wait_until(lambda: _is_ready(port), 30)
        assert _is_ready(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        output.seek(0)
        assert "Traceback" not in output.read()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("service", NAMES)
def test_a_database_that_is_away_is_one_line(service: str) -> None:
    done = penstock(
        "serve", service, "--port", str(free_port()), **(GOOD | {"PENSTOCK_LOG_LEVEL": "warning"})
    )

    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{service} cannot start: the database at 127.0.0.1:1/penstock cannot be used: ")
    assert line.endswith("Start it, or mend PENSTOCK_DATABASE_URL")


def test_a_rabbitmq_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    away = {"PENSTOCK_BUS_URL": "amqp://penstock:hush@127.0.0.1:1/", "PENSTOCK_LOG_LEVEL": "warning"}

    done = penstock("serve", "results", "--port", str(free_port()), **(environment | away))

    assert done.returncode == 3
    *_, line = done.stderr.splitlines()
    assert line.startswith("results cannot start: RabbitMQ at 127.0.0.1:1 cannot be used: ")
    assert line.endswith("Start it, or mend PENSTOCK_BUS_URL")
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


async def test_a_database_without_penstock_is_waited_for_and_what_is_wrong_then_is_one_line(
    environment: dict[str, str], postgres_url: str, tmp_path: Path
) -> None:
    port = free_port()
    async with new_database(postgres_url, "template0") as url:
        values = environment | {
            "PENSTOCK_DATABASE_URL": url,
            "PENSTOCK_BUS_URL": "amqp://penstock:hush@127.0.0.1:1/",
            "PENSTOCK_LOG_LEVEL": "error",
        }
        with (tmp_path / "output.txt").open("w+") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on in this test
                [*PENSTOCK, "serve", "upload", "--port", str(port)],
                env=clean_environment(**values),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_until(lambda: _schema_is_missing(port), 60)
                assert _schema_is_missing(port)
                await migrate_async(url, MIGRATIONS)
                assert process.wait(60) == 3
            finally:
                process.kill()
            output.seek(0)
            *_, line = output.read().splitlines()
            assert line.startswith("upload cannot start: RabbitMQ at 127.0.0.1:1 cannot be used: ")


def _schema_is_missing(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health/ready")
    except httpx.TransportError:
        return False
    [check] = answer.json()["services"]["upload"]
    return answer.status_code == 503 and check["name"] == "schema"


def test_the_traceback_is_there_for_those_who_ask() -> None:
    done = penstock(
        "serve", "results", "--port", str(free_port()), **(GOOD | {"PENSTOCK_LOG_LEVEL": "debug"})
    )

    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("results cannot start: ")


def test_migrate(database_url: str) -> None:
    done = penstock("migrate", PENSTOCK_DATABASE_URL=database_url)

    assert (done.returncode, done.stdout) == (0, "The database is up to date.\n"), done.stderr


def test_migrate_without_a_database() -> None:
    missing, away = penstock("migrate"), penstock("migrate", **GOOD)

    assert (missing.returncode, away.returncode) == (2, 1)
    assert "PENSTOCK_DATABASE_URL is not set" in missing.stderr
    assert "the database cannot be used" in away.stderr


def test_version_and_help() -> None:
    assert penstock("--version").stdout == "penstock 0.1.0\n"
    listed = penstock("--help").stdout
    assert all(command in listed for command in ("up", "serve", "migrate", "import", "token"))
