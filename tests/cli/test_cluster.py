"""`penstock up --rabbitmq`: four processes on RabbitMQ behind one address."""

import json
import os
import signal
from pathlib import Path

import httpx

from penstock import samples
from penstock.local import rabbitmq
from penstock.local.processes import is_running
from penstock.registry import NAMES
from tests.cli.given import Up, products, wait_until


def cluster(home: Path, rabbit_url: str, *arguments: str) -> Up:
    """On a private node where the machine has RabbitMQ, else on the tests' broker."""
    given = {} if rabbitmq.find_server() else {"PENSTOCK_BUS_URL": rabbit_url}
    return Up(home, "--rabbitmq", *arguments, **given).wait_until_ready()


def pids(home: Path) -> dict[str, int]:
    return {arguments.split()[3]: pid for pid, arguments in json.loads((home / "processes.json").read_text())}


def test_one_address_in_front_of_all_services_and_the_samples(home: Path, rabbit_url: str) -> None:
    up = cluster(home, rabbit_url)

    with up.client() as client:
        ended = {found["file_name"]: found for found in client.imports()}
    for sample in samples.bundled():
        assert list(samples.differences(sample, ended[sample.path.name])) == []
    ready = httpx.get(f"{up.url}/health/ready").json()
    assert (ready["status"], ready["services"].keys()) == ("ok", set(NAMES))
    for name in NAMES:
        alone = httpx.get(f"{up.url}/health/{name}/ready").json()
        assert (alone["status"], alone["services"].keys()) == ("ok", {name})
    paths = httpx.get(f"{up.url}/openapi.json").json()["paths"]
    assert {"/api/v1/uploads", "/api/v1/imports", "/api/v1/webhooks"} <= paths.keys()
    assert httpx.get(f"{up.url}/docs").status_code == 200
    assert httpx.get(f"{up.url}/nowhere").json()["code"] == "not_found"
    assert up.stop() == 0


def test_every_killed_process_comes_back_and_the_import_ends(
    home: Path, rabbit_url: str, tmp_path: Path
) -> None:
    up = cluster(home, rabbit_url, "--no-samples")
    with up.client() as client:
        accepted = client.upload(products(tmp_path / "many.csv", 300_000), dataset="products")
        wait_until(lambda: client.import_status(accepted["id"])["rows_processed"], 30)
        for pid in pids(home).values():
            os.kill(pid, signal.SIGKILL)

        *_, final = client.follow(accepted["id"])

        receipt = client.receipt(accepted["id"])
    assert (final["status"], receipt["rows_inserted"]) == ("completed", 300_000)
    assert up.output.count("starting it again") == len(NAMES)

    # Given the whole is killed, its processes go on; when it starts again, then it ends them first.
    before = pids(home)
    up.kill()
    again = cluster(home, rabbit_url, "--no-samples")
    assert not any(is_running(pid, f"-m penstock serve {name}") for name, pid in before.items())
    assert again.stop() == 0
    assert not (home / "processes.json").exists()
