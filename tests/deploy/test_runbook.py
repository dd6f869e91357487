"""deploy/RUNBOOK.md says what there is: alerts, commands, settings, files, and who may operate."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import kubernetes_validate
import pytest
import typer.main
import yaml

from penstock.cli import app
from penstock.settings_listed import settings_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()
ALERTS = [
    alert
    for group in yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"]
    for alert in group["rules"]
]
PAGES = ("RUNBOOK.md", "README.md")
PARTS = ("Users", "Look", "Do", "Over")
# The program itself, and not a namespace of its name; or a container that runs it.
CALLED = r"(?:(?<=[\s`(])(?<!namespace )penstock|run [^`\n]*--no-deps (?:-T )?(?:results|operate))"
# Of deploy/compose.yaml and of tests, which no service reads.
OTHER_VARIABLES = {"PENSTOCK_TEST_DEPLOY"}


def anchors(text: str) -> list[str]:
    """Where links into the page may point to, as renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def section(name: str) -> str:
    [found] = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
    return found


def named_commands(text: str) -> Iterator[list[str]]:
    """The words of each `penstock …`, or of what is run in a container, up to what is no word."""
    for words in re.findall(rf"{CALLED} ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)", text):
        yield words.split()


def command_of(words: list[str]) -> click.Command | None:
    """The command that the words begin with; None: there is none."""
    found: click.Command = typer.main.get_command(app)
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word not in found.commands:
            return None
        found = found.commands[word]
    return found


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_its_section_which_says_all_that_one_asks_at_night(alert):
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == "deploy/RUNBOOK.md"
    assert anchor == alert["alert"].lower()
    assert anchors(RUNBOOK).count(anchor) == 1
    assert re.findall(r"^\*\*(\w+)\*\*:", section(alert["alert"]), flags=re.MULTILINE) == list(PARTS)


def test_a_section_of_an_alert_has_an_alert():
    of_alerts = RUNBOOK.partition("## Alerts\n")[2].partition("\n## ")[0]
    written = re.findall(r"^### (.+)$", of_alerts, flags=re.MULTILINE)
    assert written == [alert["alert"] for alert in ALERTS], "in the same order, too"


def test_links_lead_somewhere():
    for place in re.findall(r"\]\(([^)]+)\)", RUNBOOK):
        page, _, anchor = place.partition("#")
        assert not page or (DEPLOY / page).exists(), place
        assert not anchor or anchor in anchors(RUNBOOK), place


def test_files_that_are_named_are_there():
    for path in re.findall(r"`((?:deploy|tests|shared|overlays)/[\w./-]+)`", RUNBOOK):
        made_later = path.startswith("deploy/secrets") or path == "deploy/.env"
        assert made_later or any(ROOT.glob(path)) or any((DEPLOY / "kubernetes").glob(path)), path


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_are_there(page):
    named = list(named_commands((DEPLOY / page).read_text()))
    assert named
    for words in named:
        assert command_of(words) is not None, f"penstock {' '.join(words)}"


def test_a_command_that_is_not_there_is_found():
    text = "`penstock imports stuck`, penstock queues cry; run --rm --no-deps operate tenants"
    found = {" ".join(words): command_of(words) is not None for words in named_commands(text)}
    assert found == {"imports stuck": True, "queues cry": False, "tenants": False}


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_are_there(page):
    text = (DEPLOY / page).read_text()
    found = re.findall(rf"{CALLED} ((?:[a-z][a-z-]* )+)([^`\n|);]*)", text)
    for words, rest in found:
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            command = command_of(words.split())
            assert command is not None
            assert any(option in each.opts for each in command.params), f"penstock {words}{option}"
    assert any("--" in rest for _, rest in found)


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_are_there(page):
    known = {each.variable for each in settings_of()} | OTHER_VARIABLES
    known |= set(re.findall(r"\bPENSTOCK_\w+", (DEPLOY / "compose.yaml").read_text()))
    named = set(re.findall(r"\bPENSTOCK_[A-Z0-9_]+\b", (DEPLOY / page).read_text()))
    assert named
    assert named <= known


def test_queues_that_are_named_are_there():
    from shared.contracts.topology import QUEUES

    named = set(re.findall(r"`((?:upload|processor|results|notifier)\.[a-z]+)`", RUNBOOK))
    assert named <= {queue.name for queue in QUEUES}


def test_figures_that_are_named_are_there():
    from shared.platform.telemetry.described import labels

    known = {re.sub("_(bucket|count|sum)$", "", name) for name in labels()}
    assert set(re.findall(r"`(penstock_[a-z_]+)`", RUNBOOK)) - {"penstock_b"} <= known


def test_whoever_operates_has_every_command_and_the_secrets_they_need():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["operate"]
    assert compose["profiles"] == ["operate"], "it starts with nothing else"
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    pod = next(yaml.safe_load_all((DEPLOY / "kubernetes" / "operate.yaml").read_text()))["spec"]
    sources = next(volume for volume in pod["volumes"] if volume["name"] == "secrets")["projected"]["sources"]
    mounted = {item["path"] for source in sources for item in source["secret"].get("items", [])}
    ours = {name for name in compose["secrets"] if name.startswith("PENSTOCK_")}
    # Empty unless there is a pooler; and jobs are run in the notifier's pods.
    assert ours - mounted <= {"PENSTOCK_DATABASE_SESSION_URL", "PENSTOCK_CLICKHOUSE_URL"}
    assert mounted <= ours
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "FROM describe AS operate-build\n" in dockerfile, "whose stage has all services and what they need"
    assert re.search(r"^COPY services services$", dockerfile, flags=re.MULTILINE)


def test_the_operators_pod_is_valid_and_as_hardened_as_the_others():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "operate.yaml").read_text()))
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)
    pod, *policies = documents
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["activeDeadlineSeconds"] <= 24 * 3600
    [container] = pod["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [policy["kind"] for policy in policies] == ["NetworkPolicy"] * 3
