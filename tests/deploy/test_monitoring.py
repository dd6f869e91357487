"""Alerts, board and scraping agree with what is declared; Prometheus' own tool reads and tries them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock.local import apt
from penstock.registry import NAMES
from shared.platform.telemetry.described import labels

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
ALERTS = [
    alert
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for alert in group["rules"]
]
TRIALS = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]
BOARD = json.loads((MONITORING / "board.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
# Of Prometheus' client, of Prometheus itself, and of the node exporter that watches disks.
OTHERS = re.compile(
    "process_(cpu_seconds_total|resident_memory_bytes|open_fds|start_time_seconds)|ALERTS|node_filesystem_(avail|size)_bytes"
)
OF_SCRAPING = {"job", "instance"}
BY_NAME = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def expressions() -> Iterator[str]:
    """All of the board's, with what Grafana puts in."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for expression in asked + [note["expr"] for note in BOARD["annotations"]["list"]]:
        yield expression.replace("$__rate_interval", "5m").replace("$dataset", ".*")


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The name of each series that is asked for, and the labels it is chosen by."""
    bare = re.sub(r"\b(by|on|without|ignoring) ?\([^)]*\)", "", expression)
    for name, chosen in re.findall(
        r"\b((?:penstock|process|node|ALERTS)\w*)(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', bare)
    ):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))


def groupings(expression: str) -> set[str]:
    return {
        label.strip()
        for inside in re.findall(r"\b(?:by|on) ?\(([^)]*)\)", expression)
        for label in inside.split(",")
        if label.strip()
    }


def check_declared(expression: str) -> None:
    declared, known = labels(), {"le"} | OF_SCRAPING
    for name, chosen in selectors(expression):
        if OTHERS.fullmatch(name):
            known |= {"mountpoint", "fstype"}
            continue
        assert name in declared, f"{name} of {expression}"
        assert chosen <= declared[name] | OF_SCRAPING, (
            f"{name} has no {chosen - declared[name]}: {expression}"
        )
        known |= declared[name]
    assert groupings(expression) <= known, expression


@pytest.mark.parametrize(
    "wrong",
    [
        "rate(penstock_nothing_total[5m])",
        'penstock_imports_open{dataset="books"}',
        "sum by (tenant) (penstock_imports_open)",
        "penstock_slice_seconds > 1",
        "max(process_heart_rate)",
    ],
)
def test_what_is_not_declared_is_found(wrong):
    with pytest.raises(AssertionError):
        check_declared(wrong)


@BY_NAME
def test_an_alert_uses_what_is_declared_and_says_what_to_do(alert):
    check_declared(alert["expr"])
    assert alert["labels"]["severity"] in {"page", "ticket"}
    said = alert["annotations"]
    assert said.keys() == {"summary", "description", "runbook"}
    assert said["runbook"] == f"deploy/RUNBOOK.md#{alert['alert'].lower()}"
    for label in re.findall(r"\$labels\.(\w+)", " ".join(said.values())):
        assert label in groupings(alert["expr"]) or f"{{{label}=" in alert["expr"], label


@BY_NAME
def test_an_alert_is_tried_firing_and_silent(alert):
    wanted = f'alertname="{alert["alert"]}"'
    tried = [
        check
        for trial in TRIALS
        for check in trial["promql_expr_test"]
        if f"ALERTS{{{wanted}" in check["expr"]
    ]
    fired = [sample["labels"] for check in tried for sample in check["exp_samples"]]
    assert fired, "never fires"
    assert all(wanted in each for each in fired)
    series = [
        each["series"]
        for trial in TRIALS
        if trial["name"].startswith(alert["alert"])
        for each in trial["input_series"]
    ]
    assert len(series) > len(fired) or any(not check["exp_samples"] for check in tried), "never silent"


def test_series_of_the_trials_are_declared():
    for trial in TRIALS:
        for series in trial["input_series"]:
            check_declared(series["series"])


def test_the_board_asks_for_what_is_declared_and_shows_all_of_it():
    for expression in expressions():
        check_declared(expression)
    shown = {name for expression in expressions() for name, _ in selectors(expression)}
    families = {re.sub(r"(?<=_seconds)_(bucket|count|sum)$", "", name) for name in labels()}
    assert families <= {re.sub(r"(?<=_seconds)_(bucket|count|sum)$", "", name) for name in shown}


def test_the_board_is_whole():
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${source}"


def test_prometheus_scrapes_every_service_and_reads_the_rules():
    settings = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    assert [job["job_name"] for job in settings["scrape_configs"]] == [*NAMES, "machines"]
    assert settings["rule_files"] == ["alerts.yaml"]


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' tool; without one the test is skipped, and fails where CI=true."""
    found = shutil.which("promtool") or (apt.install("prometheus") and shutil.which("promtool"))
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "needs promtool: on the path, or installed with apt (prometheus), as root"
        )
    return found


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_settings_and_rules(promtool):
    run(promtool, "check", "config", MONITORING / "prometheus.yaml")
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", MONITORING / "alerts.yaml")


def test_alerts_fire_when_they_should(promtool):
    run(promtool, "test", "rules", MONITORING / "alerts.test.yaml")


def test_prometheus_takes_every_expression_of_the_board(promtool, tmp_path):
    rules = [{"record": f"board:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", file)
