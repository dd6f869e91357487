"""Who may speak to whom on a cluster: the NetworkPolicies of deploy/kubernetes, together with who has which secret."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from penstock.registry import NAMES
from services.notifier.targets import addresses
from tests.deploy.rendered import OVERLAYS, Document, kind, pods, render, secret_files, selects

OPERATE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "operate.yaml"
OPERATOR = {"app.kubernetes.io/name": "operate"}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def documents(overlay: str) -> Sequence[Document]:
    return render(overlay)


def policies_of(documents: Iterable[Document], labels: Mapping[str, str], direction: str) -> list[Document]:
    """What NetworkPolicies let a pod with `labels` do: their rules. `direction`: Ingress or Egress."""
    policies = [
        each["spec"]
        for each in kind(documents, "NetworkPolicy").values()
        if selects(each["spec"]["podSelector"], labels) and direction in each["spec"]["policyTypes"]
    ]
    assert policies, f"{direction} of {labels} is open"
    return [rule for policy in policies for rule in policy.get(direction.lower(), ())]


def reaches(
    documents: Sequence[Document], source: Mapping[str, str], target: Mapping[str, str], port: int
) -> bool:
    """Whether policies let pods of `source` open a connection to `port` of those of `target`, in the same namespace."""

    def fits(rule: Document, side: str, labels: Mapping[str, str]) -> bool:
        at_port = "ports" not in rule or any(each["port"] == port for each in rule["ports"])
        return at_port and any(
            selects(each["podSelector"], labels) for each in rule[side] if set(each) == {"podSelector"}
        )

    goes = any(fits(rule, "to", target) for rule in policies_of(documents, source, "Egress"))
    return goes and any(fits(rule, "from", source) for rule in policies_of(documents, target, "Ingress"))


def test_nobody_speaks_or_listens_but_where_a_policy_says_so(documents):
    for name, template in pods(documents).items():
        for direction in ("Ingress", "Egress"):
            for rule in policies_of(documents, template["metadata"]["labels"], direction):
                assert rule.get("from") or rule.get("to"), f"{name} with anybody"
                assert rule.get("ports") or name == "notifier", f"{name} at every port"


def test_only_the_notifier_reaches_out(documents):
    for name, template in pods(documents).items():
        blocks = [
            ip_network(peer["ipBlock"]["cidr"])
            for rule in policies_of(documents, template["metadata"]["labels"], "Egress")
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        assert any(not block.is_private for block in blocks) == (name == "notifier"), name


def test_whoever_operates_reaches_servers_and_nothing_outside():
    _, *policies = yaml.safe_load_all(OPERATE.read_text())
    [own] = [each["spec"] for each in policies if selects(each["spec"]["podSelector"], OPERATOR)]
    assert own["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in own
    for rule in own["egress"]:
        assert rule["ports"]
        for peer in rule["to"]:
            assert "podSelector" in peer or ip_network(peer["ipBlock"]["cidr"]).is_private, peer
    others = [each["spec"] for each in policies if each["spec"] is not own]
    assert all(
        rule["from"] == [{"podSelector": {"matchLabels": OPERATOR}}]
        for each in others
        for rule in each["ingress"]
    )


def test_webhooks_go_wherever_the_notifier_would_send_them_and_nowhere_else():
    [rule] = kind(render("prod"), "NetworkPolicy")["webhooks-go-out"]["spec"]["egress"]
    v4, v6 = (each["ipBlock"] for each in rule["to"])
    assert v4["cidr"] == "0.0.0.0/0"
    assert set(map(ip_network, v4["except"])) == {*addresses._PRIVATE_V4, *addresses._SPECIAL_V4}
    assert ip_network(v6["cidr"]) == addresses._GLOBAL_V6
    assert set(map(ip_network, v6["except"])) == {*addresses._SPECIAL_V6, addresses._6TO4}
    metadata = ip_address("169.254.169.254")
    assert any(metadata in ip_network(network) for network in v4["except"])


def test_servers_are_reached_by_those_that_have_their_secrets(documents):
    database, broker = {"cnpg.io/cluster": "database"}, {"app.kubernetes.io/name": "rabbitmq"}
    for name, template in pods(documents).items():
        labels, secrets = template["metadata"]["labels"], set(secret_files(template).values())
        assert reaches(documents, labels, database, 5432) == ("database-app" in secrets), name
        assert reaches(documents, labels, broker, 5672) == ("rabbitmq-default-user" in secrets), name


def test_files_are_reached_by_those_that_keep_them(documents, overlay):
    policy = kind(documents, "NetworkPolicy")["files-are-kept"]["spec"]
    for name, template in pods(documents).items():
        labels, has_keys = template["metadata"]["labels"], "store" in secret_files(template).values()
        assert selects(policy["podSelector"], labels) == has_keys, name
        if overlay == "dev":
            assert reaches(documents, labels, {"app.kubernetes.io/name": "store"}, 7070) == has_keys, name


def test_figures_are_reached_by_the_ingress_of_no_policy_but_that_of_monitoring(documents):
    for service in NAMES:
        rules = policies_of(documents, pods(documents)[service]["metadata"]["labels"], "Ingress")
        named = [peer["namespaceSelector"] for rule in rules for peer in rule["from"]]
        assert any(selects(each, {"kubernetes.io/metadata.name": "monitoring"}) for each in named)
        assert any(selects(each, {"kubernetes.io/metadata.name": "traefik"}) for each in named) == (
            service != "processor"  # which answers nobody
        )
