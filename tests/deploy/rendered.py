"""deploy/kubernetes as kustomize renders it, and what the tests ask of it. Needs kubectl, of any version from 1.14."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.local import apt

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("dev", "prod")
WAIT_SECONDS = 60  # kubectl needs less than one

Document = dict[str, Any]


@cache
def kubectl() -> str | None:
    """The program, installed with apt if it must and can be."""
    if shutil.which("kubectl") is None:
        apt.install("kubernetes-client")
    return shutil.which("kubectl")


@cache
def render(overlay: str) -> Sequence[Document]:
    """What `kubectl apply --kustomize` would send; without kubectl the test is skipped, and fails where CI=true."""
    program = kubectl()
    if program is None:
        reason = "needs kubectl, and apt could not install Debian's kubernetes-client"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    done = subprocess.run(
        [program, "kustomize", KUBERNETES / "overlays" / overlay],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def kind(documents: Iterable[Document], *kinds: str) -> dict[str, Document]:
    """Those of the given kinds by name."""
    return {each["metadata"]["name"]: each for each in documents if each["kind"] in kinds}


def pods(documents: Iterable[Document]) -> dict[str, Document]:
    """The pod templates of Deployments and Jobs by name."""
    return {name: each["spec"]["template"] for name, each in kind(documents, "Deployment", "Job").items()}


def containers(template: Document) -> list[Document]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes in something with `labels`."""
    known = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    assert {each["operator"] for each in selector.get("matchExpressions", ())} <= {"In"}
    return known and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def secret_files(template: Document) -> dict[str, str]:
    """The files that a pod has in its folder of secrets, by name, with the secret that each is from."""
    found = {}
    for volume in template["spec"].get("volumes", ()):
        for source in volume.get("projected", {}).get("sources", ()):
            for item in source["secret"].get("items", [{"path": "*"}]):
                found[item["path"]] = source["secret"]["name"]
    return found
