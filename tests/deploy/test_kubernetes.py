"""deploy/kubernetes, as kustomize renders it: valid, and in agreement with the code."""

import os
import re
import tomllib
from collections.abc import Sequence
from importlib import import_module

import kubernetes_validate
import pytest
import yaml
from pydantic_settings import BaseSettings

from penstock.registry import NAMES, build
from services.results.console.api import SECTIONS
from shared.contracts.routes import ROUTES
from shared.contracts.topology import QUEUES
from shared.platform.service import Stopping, compose
from shared.platform.settings import PlatformSettings, ProcessSettings, StoreSettings
from shared.platform.telemetry.figures import AT_SCRAPE, REGISTRY
from tests.conftest import JWT_SECRET, RECEIPT_KEY
from tests.deploy.rendered import (
    KUBERNETES,
    OVERLAYS,
    Document,
    containers,
    kind,
    pods,
    render,
    secret_files,
    selects,
)

DEPLOY = KUBERNETES.parent
OLDEST = "1.30"  # the first whose pods may sleep before they stop
OPERATED = {  # whose definitions come with their operators, and so are not known here
    "prod": {
        *("Cluster", "ObjectStore", "ScheduledBackup"),
        *("RabbitmqCluster", "ScaledObject", "TriggerAuthentication"),
    },
    "dev": {"Cluster", "RabbitmqCluster"},
}
DRAIN_SECONDS = 15  # PENSTOCK_STOP_SECONDS, and 10 s for what else ends
RESERVED_CONNECTIONS = 40  # for the operator, replicas, the migration, and people


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def documents(overlay: str) -> Sequence[Document]:
    return render(overlay)


def settings_of(service: str) -> type[PlatformSettings]:
    return import_module(f"services.{service}.settings").Settings


def variables(*classes: type[BaseSettings], secret: bool | None = None) -> set[str]:
    """The environment variables that these classes read; `secret`: only those that hold something secret, or nothing secret."""
    fields = {name: field for each in classes for name, field in each.model_fields.items()}
    return {
        f"PENSTOCK_{name}".upper()
        for name, field in fields.items()
        if secret is None or secret == (not field.repr or "SecretStr" in repr(field.annotation))
    }


@pytest.mark.parametrize(
    ("overlay", "version"),
    [("dev", None), ("prod", None), ("prod", OLDEST)],
    ids=["dev-newest", "prod-newest", "prod-oldest"],
)
def test_everything_is_what_the_version_of_kubernetes_knows_and_nothing_else(overlay, version):
    unknown = set()
    for document in render(overlay):
        try:
            kubernetes_validate.validate(
                document, version or kubernetes_validate.latest_version(), strict=True
            )
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(document["kind"])
    assert unknown == OPERATED[overlay]


def test_all_are_in_one_namespace_that_restricts_pods(documents):
    [(name, namespace)] = kind(documents, "Namespace").items()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"].get("namespace", name) for each in documents} == {name}


def test_the_ingress_has_the_paths_of_the_contract_and_of_the_console(documents):
    [ingress] = kind(documents, "Ingress").values()
    [rule] = ingress["spec"]["rules"]
    given = {
        path["path"]: (path["pathType"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]
    }
    assert given == {
        **{prefix: ("Prefix", service) for prefix, service in ROUTES.items()},
        **{f"/{section}": ("Prefix", "results") for section in (*SECTIONS, "assets")},
        "/": ("Exact", "results"),
        "/docs": ("Prefix", "docs"),
        "/openapi.json": ("Exact", "docs"),
    }


def routed(ingress: Document, path: str) -> str | None:
    """The service that the Ingress sends `path` to: whole segments count, the longest wins."""
    found = [
        (len(each["path"]), each["backend"]["service"]["name"])
        for each in ingress["spec"]["rules"][0]["http"]["paths"]
        if path == each["path"]
        or (each["pathType"] == "Prefix" and path.startswith(f"{each['path'].rstrip('/')}/"))
    ]
    return max(found)[1] if found else None


async def test_what_services_answer_is_reached_but_for_health_and_figures(environment):
    [ingress] = kind(render("prod"), "Ingress").values()
    for service in NAMES:
        for path in compose([build(service, Stopping())]).openapi()["paths"]:
            assert routed(ingress, path) == (None if path.startswith("/health") else service), path
    for path in (
        "/metrics",
        "/metrics/",
        "/health",
        "/health/live",
        "/health/ready",
        "/docs-old",
        "/unknown",
    ):
        assert routed(ingress, path) is None, path


def test_production_is_reached_by_tls_under_one_name():
    [ingress] = kind(render("prod"), "Ingress").values()
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ingress["spec"]["tls"][0]["hosts"]


def test_every_backend_is_a_service_that_finds_pods(documents):
    templates = pods(documents)
    services = kind(documents, "Service")
    assert set(services) >= {*NAMES, "docs"}
    for name, service in services.items():
        found = [
            template
            for template in templates.values()
            if selects({"matchLabels": service["spec"]["selector"]}, template["metadata"]["labels"])
        ]
        assert [template["metadata"]["labels"]["app.kubernetes.io/name"] for template in found] == [name]
        ports = {port["name"] for container in found[0]["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def amount(quantity: str) -> float:
    """Kubernetes' notation of processors and bytes, as far as we use it."""
    number, suffix = re.fullmatch(r"(\d+)(m|Mi|Gi)?", quantity).groups()
    return int(number) * {None: 1, "m": 0.001, "Mi": 2**20, "Gi": 2**30}[suffix]


def test_pods_are_hardened_and_have_limits(documents):
    for name, template in pods(documents).items():
        spec, pod = template["spec"], template["spec"]["securityContext"]
        assert spec["automountServiceAccountToken"] is False, name
        assert (pod["runAsNonRoot"], pod["runAsUser"], pod["runAsGroup"]) == (True, 10001, 10001), name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            requested, limit = (container["resources"][bound] for bound in ("requests", "limits"))
            assert set(requested) == set(limit) == {"cpu", "memory"}, name
            assert all(0 < amount(requested[each]) <= amount(limit[each]) for each in limit), name


def test_images_have_tags_and_ours_are_built_here(documents):
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE))
    for name, template in pods(documents).items():
        for container in containers(template):
            image, _, tag = container["image"].rpartition(":")
            assert image, name
            assert "/" not in tag, name
            assert tag != "latest", name
            if "penstock/" in image:
                assert image.rpartition("/")[2] in targets


def test_the_version_is_that_of_the_project():
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    for file in ("base", "overlays/prod"):
        images = yaml.safe_load((KUBERNETES / file / "kustomization.yaml").read_text())["images"]
        assert {image["newTag"] for image in images} == {version}


async def test_services_are_watched_at_addresses_that_they_have_and_end_in_time(environment):
    for service in NAMES:
        answered = compose([build(service, Stopping())]).openapi()["paths"]
        spec = pods(render("prod"))[service]["spec"]
        [container] = spec["containers"]
        asked = {
            probe: container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert set(asked.values()) <= set(answered)
        assert asked["readinessProbe"] == "/health/ready"
        assert asked["startupProbe"] == asked["livenessProbe"] == "/health/live"
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] >= pause + DRAIN_SECONDS


def test_an_update_and_a_disruption_leave_all_but_one(documents):
    for name in (*NAMES, "docs"):
        deployment = kind(documents, "Deployment")[name]
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        [budget] = [
            each["spec"]
            for each in kind(documents, "PodDisruptionBudget").values()
            if selects(each["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])
        ]
        assert budget["maxUnavailable"] == 1


@pytest.mark.parametrize("service", NAMES)
def test_a_service_has_the_secrets_that_it_reads_and_no_other(documents, service):
    settings = settings_of(service)
    template = pods(documents)[service]
    keeps_files = issubclass(settings, StoreSettings)
    secret = variables(settings, ProcessSettings, secret=True) - {
        "PENSTOCK_STORE_URL",  # has none in it where keys are apart
        "PENSTOCK_DATABASE_SESSION_URL",  # for a pooler, of which there is none
    }
    assert set(secret_files(template)) == secret | ({"*"} if keeps_files else set())
    [container] = template["spec"]["containers"]
    folder = {each["name"]: each["value"] for each in container["env"]}["PENSTOCK_SECRETS_DIR"]
    assert {"name": "secrets", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
    assert [set(each) for each in container["envFrom"]] == [{"configMapRef"}]


def test_the_migration_has_the_database_and_nothing_else(documents):
    assert set(secret_files(pods(documents)["migrate"])) == {"PENSTOCK_DATABASE_URL"}


def test_secrets_of_servers_are_named_as_their_operators_name_them(documents):
    [database] = [each for each in documents if each["kind"] == "Cluster"]
    [broker] = kind(documents, "RabbitmqCluster")
    for name in NAMES:
        given = secret_files(pods(documents)[name])
        assert given["PENSTOCK_DATABASE_URL"] == f"{database['metadata']['name']}-app"
        assert given["PENSTOCK_BUS_URL"] == f"{broker}-default-user"


@pytest.mark.parametrize("service", NAMES)
def test_a_service_starts_with_the_settings_that_it_is_given(documents, service, monkeypatch):
    [(name, given)] = kind(documents, "ConfigMap").items()
    [container] = pods(documents)[service]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": name}}]
    everything = {each for one in NAMES for each in variables(settings_of(one), ProcessSettings)}
    assert {each for each in given["data"] if each.startswith("PENSTOCK_")} <= everything
    secret = {
        "PENSTOCK_DATABASE_URL": "postgresql://penstock:x@database-rw:5432/penstock",
        "PENSTOCK_BUS_URL": "amqp://penstock:x@rabbitmq:5672/",
        "PENSTOCK_JWT_SECRET": JWT_SECRET,
        "PENSTOCK_RECEIPT_KEY": RECEIPT_KEY,
    }
    for variable in [each for each in os.environ if each.startswith("PENSTOCK_")]:
        monkeypatch.delenv(variable)
    for variable, value in (given["data"] | secret).items():
        monkeypatch.setenv(variable, value)
    settings = settings_of(service)()
    assert settings.bus_url == secret["PENSTOCK_BUS_URL"]
    assert ProcessSettings()


def scaled() -> dict[str, tuple[int, int]]:
    """How few and how many processes of each service there may be in production."""
    bounds = {
        each["spec"]["scaleTargetRef"]["name"]: (each["spec"]["minReplicas"], each["spec"]["maxReplicas"])
        for each in kind(render("prod"), "HorizontalPodAutoscaler").values()
    }
    return bounds | {
        each["spec"]["scaleTargetRef"]["name"]: (
            each["spec"]["minReplicaCount"],
            each["spec"]["maxReplicaCount"],
        )
        for each in kind(render("prod"), "ScaledObject").values()
    }


def test_each_service_is_scaled_by_one_and_has_no_number_of_its_own():
    named = [
        each["spec"]["scaleTargetRef"]["name"]
        for each in render("prod")
        if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}
    ]
    assert sorted(named) == sorted(NAMES)
    for name, (fewest, most) in scaled().items():
        assert "replicas" not in kind(render("prod"), "Deployment")[name]["spec"]
        assert 2 <= fewest <= most


def test_what_scales_on_figures_asks_for_such_as_there_are():
    declared = {each.name for each in AT_SCRAPE} | {
        sample.name for family in REGISTRY.collect() for sample in family.samples
    }
    declared |= {f"{family.name}_bucket" for family in REGISTRY.collect() if family.type == "histogram"}
    queues = {queue.name: queue.service for queue in QUEUES}
    for name, scaler in kind(render("prod"), "ScaledObject").items():
        kinds = [trigger["type"] for trigger in scaler["spec"]["triggers"]]
        assert sorted(kinds) == ["prometheus", "rabbitmq"]  # how many wait, and for how long
        for trigger in scaler["spec"]["triggers"]:
            asked = trigger["metadata"]
            if trigger["type"] == "rabbitmq":
                assert queues[asked["queueName"]] == name
                assert kind(render("prod"), "TriggerAuthentication")[trigger["authenticationRef"]["name"]]
            else:
                assert set(re.findall(r"penstock_\w+", asked["query"])) <= declared
                assert {queues[queue] for queue in re.findall(r'queue="([^"]+)"', asked["query"])} <= {name}
                assert asked["ignoreNullValues"] == "false"
        assert scaler["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_the_database_has_connections_for_as_many_processes_as_there_may_be(overlay):
    """What a process takes is counted by test_files.py, which says that compose.yaml tells it."""
    said = re.search(
        r"each process: (upload \d+, processor \d+, results \d+, notifier \d+)",
        (DEPLOY / "compose.yaml").read_text(),
    )
    taken = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", said[1])}
    assert set(taken) == set(NAMES)
    [database] = [each for each in render(overlay) if each["kind"] == "Cluster"]
    most = int(database["spec"]["postgresql"]["parameters"]["max_connections"])
    processes = (
        {name: bounds[1] for name, bounds in scaled().items()}
        if overlay == "prod"
        else dict.fromkeys(NAMES, 1)
    )
    while_updated = sum((processes[name] + 1) * taken[name] for name in NAMES)
    assert while_updated + RESERVED_CONNECTIONS <= most
    if overlay == "prod":
        assert f"Each process: {said[1]}." in (KUBERNETES / "overlays/prod/database.yaml").read_text()


def test_what_checkov_is_told_to_skip_has_a_reason(documents):
    for document in documents:
        for key, value in document["metadata"].get("annotations", {}).items():
            if key.startswith("checkov.io/"):
                assert re.fullmatch(r"CKV2?_K8S_\d+=.{10,}", value), value
