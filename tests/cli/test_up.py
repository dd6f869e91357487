"""`penstock up`: from nothing to imported samples, again and again, whatever ends it."""

import json
import os
import signal
import stat
from io import BytesIO
from pathlib import Path

import httpx
import jwt
import pytest

from penstock import samples
from penstock.local.processes import free_port
from tests.cli.given import Up, penstock, products, wait_until

SAMPLES = {sample.path.name for sample in samples.bundled()}


def test_a_new_home_gets_everything_and_the_samples(home: Path) -> None:
    up = Up(home).wait_until_ready()

    assert f"{up.url}/docs" in up.output
    assert up.token in up.output
    assert httpx.get(f"{up.url}/docs").status_code == 200
    with up.client() as client:
        ended = {found["file_name"]: found for found in client.imports()}
    assert ended.keys() == SAMPLES
    for sample in samples.bundled():
        assert list(samples.differences(sample, ended[sample.path.name])) == []

    assert up.stop() == 0
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_secrets_are_for_their_owner_only(home: Path) -> None:
    up = Up(home, "--no-samples").wait_until_ready()

    for name in ("token", "jwt_secret", "receipt_key"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "store").stat().st_mode) == 0o700
    assert not stat.S_IMODE(home.stat().st_mode) & 0o066
    claims = jwt.decode(up.token, options={"verify_signature": False})
    assert (claims["tenant"], claims["scope"]) == ("demo", "admin")
    up.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_second_start_keeps_token_samples_and_the_key_of_receipts(
    home: Path, number: int, tmp_path: Path
) -> None:
    up = Up(home).wait_until_ready()
    token = up.token
    with up.client() as client:
        [products] = [found for found in client.imports() if found["file_name"] == "products.csv"]
        (tmp_path / "receipt.json").write_text(json.dumps(client.receipt(products["id"])))
    assert up.stop(number) == 0

    again = Up(home).wait_until_ready()

    assert again.token == token
    assert again.output.count("before this start") == len(SAMPLES)
    with again.client() as client:
        assert len(list(client.imports())) == len(SAMPLES)
    [sample] = [sample.path for sample in samples.bundled() if sample.path.name == "products.csv"]
    verified = penstock("verify", tmp_path / "receipt.json", "--file", sample, "--url", again.url)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert again.stop(number) == 0


def test_an_import_cut_off_by_sigkill_continues_after_the_next_start(home: Path, tmp_path: Path) -> None:
    up = Up(home, "--no-samples").wait_until_ready()
    with up.client() as client:
        accepted = client.upload(products(tmp_path / "many.csv", 300_000), dataset="products")
        wait_until(lambda: client.import_status(accepted["id"])["rows_processed"], 30)
    up.kill()

    again = Up(home, "--no-samples", port=up.port).wait_until_ready()

    with again.client() as client:
        *_, final = client.follow(accepted["id"])
        receipt = client.receipt(accepted["id"])
    assert (final["status"], receipt["rows_read"], receipt["rows_inserted"]) == (
        "completed",
        300_000,
        300_000,
    )
    assert again.stop() == 0


def test_samples_cut_off_by_sigkill_are_finished_and_not_begun_twice(home: Path) -> None:
    up = Up(home).wait_for("products.csv: pending")
    up.kill()

    again = Up(home).wait_until_ready()

    with again.client() as client:
        ended = [(found["file_name"], found["status"]) for found in client.imports()]
    assert sorted(ended) == [(name, "completed") for name in sorted(SAMPLES)]
    again.stop()


def test_a_stop_in_the_middle_of_an_import_takes_less_than_10_s(home: Path, tmp_path: Path) -> None:
    up = Up(home, "--no-samples").wait_until_ready()
    with up.client() as client:
        accepted = client.upload(products(tmp_path / "many.csv", 300_000), dataset="products")
        wait_until(lambda: client.import_status(accepted["id"])["status"] == "processing", 30)

    assert up.stop() == 0


def test_a_taken_port_is_said_and_nothing_is_started(home: Path, running: Up) -> None:
    done = penstock("up", "--port", str(running.port), PENSTOCK_HOME=str(home))

    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{running.port}" in done.stderr
    assert "--port" in done.stderr
    assert not (home / "postgres").exists()


def test_a_second_one_on_the_same_home_is_refused(running: Up) -> None:
    done = penstock("up", PENSTOCK_HOME=str(running.home))

    assert done.returncode == 2
    assert f"another `penstock up` (process {running.process.pid}) uses {running.home}" in done.stderr


def test_exit_when_done_ends_by_itself(home: Path) -> None:
    up = Up(home, "--exit-when-done")

    assert up.process.wait(60) == 0
    assert "Every sample import ended as it must." in up.output


def test_exit_when_done_fails_when_a_sample_ended_otherwise(home: Path) -> None:
    first = Up(home, "--no-samples").wait_until_ready()
    with first.client() as client:  # the same SKUs are there before the samples
        sample = samples.bundled()[0]
        (home / "copy.csv").write_bytes(sample.path.read_bytes() + b"\n")
        list(client.follow(client.upload(home / "copy.csv", dataset=sample.dataset)["id"]))
    first.stop()

    up = Up(home, "--exit-when-done")

    assert up.process.wait(60) == 1
    assert "products.csv: rows_inserted is 0, must be 280" in up.output


def test_a_sample_that_somebody_imported_before_is_there(home: Path) -> None:
    first = Up(home, "--no-samples").wait_until_ready()
    with first.client() as client:
        sample = samples.bundled()[0]
        list(client.follow(client.upload(sample.path, dataset=sample.dataset)["id"]))
    first.stop()

    up = Up(home, "--exit-when-done")

    assert up.process.wait(60) == 0, up.output
    assert "products.csv → products: completed" in up.output


def test_the_samples_leave_the_tenant_all_its_uploads_a_minute(home: Path) -> None:
    up = Up(home, PENSTOCK_UPLOADS_PER_MINUTE="10").wait_until_ready()
    with up.client() as client:
        for number in range(10):
            client.upload(BytesIO(b"sku,name\nG,%d\n" % number), dataset="products", file_name="g.csv")
    assert up.stop() == 0


def test_a_rabbitmq_that_is_not_there_is_said_without_a_traceback_and_all_is_stopped(home: Path) -> None:
    done = penstock(
        "up",
        "--port",
        str(free_port()),
        PENSTOCK_HOME=str(home),
        PENSTOCK_BUS_URL="amqp://u:hush@127.0.0.1:1/",
    )

    assert done.returncode == 3
    assert "RabbitMQ at 127.0.0.1:1 cannot be used" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_a_database_that_is_not_there_is_said_in_one_line(home: Path) -> None:
    url = "postgresql://penstock:secret@127.0.0.1:1/penstock"

    done = penstock("up", "--port", "0", PENSTOCK_HOME=str(home), PENSTOCK_DATABASE_URL=url)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "the database cannot be used" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_STORE_URL", "foo"),
        ("PENSTOCK_JWT_SECRET", "short"),
        ("PENSTOCK_LOG_LEVEL", "loud"),
        ("PENSTOCK_SLICE_BYTES", "1"),
        ("PENSTOCK_BUS_URL", "foo"),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback(home: Path, variable: str, value: str) -> None:
    done = penstock(
        "up", "--port", str(free_port()), "--no-samples", PENSTOCK_HOME=str(home), **{variable: value}
    )
    assert done.returncode == 2
    assert variable in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_killed_postgres_is_started_again(home: Path) -> None:
    up = Up(home, "--no-samples").wait_until_ready()
    pid = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)

    def another_one_answers() -> bool:
        try:
            now = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
            return now != pid and httpx.get(f"{up.url}/health/ready").status_code == 200
        except (OSError, ValueError, IndexError, httpx.TransportError):
            return False

    wait_until(another_one_answers, 40)
    assert up.stop() == 0
    assert not (home / "postgres" / "postmaster.pid").exists()
