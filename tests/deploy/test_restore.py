"""The trial of the way back from a backup, which ends with 0 if all that it checks holds."""

import os
import subprocess
from pathlib import Path

import pytest

from penstock.local import rabbitmq

TRIAL = Path(__file__).parents[2] / "deploy" / "trials" / "restore"
SECONDS = 900

pytestmark = [
    pytest.mark.timeout(SECONDS + 60),
    pytest.mark.skipif(
        os.environ.get("PENSTOCK_TEST_DEPLOY") != "yes", reason="takes minutes: make test-deploy"
    ),
]


@pytest.mark.parametrize("bus", ["rabbitmq", "embedded"])
def test_what_was_backed_up_comes_back_as_it_was_and_goes_on(bus: str) -> None:
    if bus == "rabbitmq" and not (rabbitmq.find_server() or rabbitmq.install_with_apt()):
        pytest.fail("needs rabbitmq-server on this machine")
    options = ["--embedded"] if bus == "embedded" else []
    done = subprocess.run(
        [TRIAL, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    proved = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert proved[-4:] == ["receipts", "newer file", "records", "webhooks"], done.stdout
