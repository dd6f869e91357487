"""The version before, and then this one in its place while clients go on: nothing fails, is lost, or is done twice."""

import json
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.deploy.load import RECORDS, Load
from tests.deploy.stack import DEPLOY, ROOT, SERVICES, VERSION, Stack, Unavailable, docker, wait_for

pytestmark = pytest.mark.timeout(2400)  # builds the images of two versions

TENANT = "rolling"
IN_IMAGES = ("penstock", "services", "shared", "deploy/Dockerfile", "deploy/requirements", "deploy/gateway")
# The version before may put aside what only watches whether its queues are read.
DEAD = "SELECT count(*) FROM bus.dead_letters WHERE encode(payload, 'escape') NOT LIKE '%canary%'"
BETWEEN = 200  # requests before, between and after


def commit_before() -> str:
    """The newest commit whose images are others than these; PENSTOCK_TEST_BEFORE names another one."""
    if named := os.environ.get("PENSTOCK_TEST_BEFORE"):
        return named
    try:
        commits = git("rev-list", "--max-count=20", "HEAD").decode().split()
        differs = (each for each in commits if git("diff", "--name-only", each, "--", *IN_IMAGES))
        return next(differs)
    except (OSError, subprocess.CalledProcessError, StopIteration):
        pytest.fail(
            "the version before is not to be had: no git, or no history; PENSTOCK_TEST_BEFORE names a commit"
        )


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of the version before."""
    if os.environ.get("PENSTOCK_TEST_DEPLOY") != "yes":
        pytest.skip("builds images and starts containers, which takes minutes: make test-deploy")
    before = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=BytesIO(git("archive", commit_before()))) as archive:
        archive.extractall(before, filter="data")
    try:
        stack = Stack(tmp_path_factory.mktemp("deploy"), version="before", deploy=before / "deploy")
    except Unavailable as error:
        pytest.fail(str(error))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop("--volumes", "--timeout=2")


@pytest.fixture(scope="module")
def load(running: Stack) -> Load:
    load = Load(lambda: running.client(TENANT))
    with running.client(TENANT) as client:
        hook = {"url": running.start_receiver(), "event_types": ["import.completed", "product.created"]}
        assert client.post("/api/v1/webhooks", json=hook).status_code == 201
    return load


def test_an_upgrade_under_load_fails_nobody(
    running: Stack, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    running.become(version=VERSION, deploy=DEPLOY)
    running.build()
    # One container has the port, so while it is replaced nobody is answered for a second.
    running.compose("up", "--detach", "--no-deps", "gateway")
    wait_for(lambda: running.health("gateway") == "healthy", seconds=60)
    with load:
        load.go_on(BETWEEN)
        running.roll()
        load.go_on(BETWEEN)
    tell(load, capsys)
    assert images(running) == {f"penstock/{service}:{VERSION}" for service in SERVICES}
    assert load.failures == []
    balance(running, load)


@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_update_under_load_fails_nobody(
    running: Stack, load: Load, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = running.containers(service)
    with load:
        load.go_on(BETWEEN)
        running.roll(service)
        load.go_on(BETWEEN)
    tell(load, capsys)
    assert len(running.containers(service)) == 1
    assert not set(running.containers(service)) & set(before)
    assert load.failures == []
    balance(running, load)


def test_two_of_a_service_are_replaced_one_after_the_other(
    running: Stack, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    running.compose(
        "up", "--detach", "--no-deps", "--no-recreate", "--scale", "results=2", "results", seconds=120
    )
    before = running.containers("results")
    wait_for(lambda: running.ready("results") == [True] * 2, seconds=120)
    with load:
        load.go_on(BETWEEN)
        running.roll("results")
        load.go_on(BETWEEN)
    tell(load, capsys)
    assert len(running.containers("results")) == 2
    assert not set(running.containers("results")) & set(before)
    assert load.failures == []
    balance(running, load)


def test_a_version_that_does_not_get_ready_replaces_nothing(running: Stack, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        f"FROM penstock/upload:{VERSION}\n"
        'ENTRYPOINT ["python", "-c", "import time; print(\'as good as dead\', flush=True); time.sleep(600)"]\n'
    )
    docker("build", "--tag=penstock/upload:dead", str(tmp_path))
    before = running.containers("upload")
    running.become(version="dead", deploy=DEPLOY)
    try:
        with pytest.raises(subprocess.SubprocessError, match="as good as dead"):
            running.roll("upload", ready_seconds=5)
    finally:
        running.become(version=VERSION, deploy=DEPLOY)
        docker("rmi", "penstock/upload:dead")
    assert running.containers("upload") == before
    assert running.health("upload") == "healthy"


def test_a_service_that_was_taken_away_comes_with_the_roll(running: Stack, load: Load) -> None:
    """As deploy/README.md has it where versions of `notifier` must not run side by side."""
    running.compose("rm", "--stop", "--force", "notifier")
    assert running.containers("notifier") == []
    running.roll()
    wait_for(lambda: all(running.ready(service) == [True] for service in ("upload", "notifier")), seconds=120)
    balance(running, load)


def test_what_was_not_rolled_follows_by_up(running: Stack, load: Load) -> None:
    running.compose("up", "--detach", seconds=300)
    wait_for(lambda: running.health("gateway") == "healthy", seconds=120)
    with running.client(TENANT) as client:
        wait_for(lambda: client.get("/health/ready").status_code == 200, seconds=60)
    balance(running, load)


def images(stack: Stack) -> set[str]:
    shown = "{{.Config.Image}}"
    return {
        docker("inspect", "--format", shown, container).strip()
        for service in SERVICES
        for container in stack.containers(service)
    }


def balance(stack: Stack, load: Load) -> None:
    """What was promised is there, once."""
    records = len(load.imports) * RECORDS + load.created

    def count(what: str) -> str:
        return stack.sql(f"SELECT {what} AND tenant = '{TENANT}'")

    assert count("count(*) FROM upload.imports WHERE true") == str(len(load.imports))
    completed = "count(*) FROM results.imports WHERE status = 'completed'"
    wait_for(lambda: count(completed) == str(len(load.imports)), seconds=120)
    products = "count(*), count(DISTINCT lower(sku)) FROM data.products WHERE true"
    wait_for(lambda: count(products) == f"{records}|{records}", seconds=60)
    assert count("count(*) FROM notifier.investigation_events WHERE true") == str(load.logged)

    promised = records + len(load.imports)
    wait_for(lambda: sum(told(stack).values()) >= promised, seconds=120)
    wait_for(
        lambda: count("count(*) FROM notifier.deliveries WHERE status <> 'succeeded'") == "0", seconds=60
    )
    assert [what for what, times in told(stack).items() if times > 1] == []
    assert stack.sql(DEAD) == "0"


def told(stack: Stack) -> Counter[str]:
    """How often the webhook said that a product was created, and that an import was completed."""
    bodies = [json.loads(message["body"]) for message in stack.received()]
    records = (
        item["id"] for body in bodies if body["type"] == "product.created" for item in body["data"]["items"]
    )
    ended = (body["data"]["import_id"] for body in bodies if body["type"] == "import.completed")
    return Counter(records) + Counter(ended)


def tell(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(  # noqa: T201 - figures of a run
            f"\n{load.asked} requests, slowest {load.slowest:.1f} s, {len(load.failures)} failed;"
            f" {len(load.imports)} imports, {load.created} edits, {load.logged} events"
        )
