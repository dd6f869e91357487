"""The client of pipelines and the notifier, by real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn

from shared.client import InvestigationLog, PenstockClient, Refused, reporting
from shared.client.spool import REFUSED
from shared.platform.auth import create_jwt
from tests.notifier.conftest import Notifier


@pytest.fixture
async def url(notifier: Notifier) -> AsyncIterator[str]:
    """Where the running notifier listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(notifier.app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_what_pipelines_report_is_logged_once(notifier: Notifier, url: str, tmp_path: Path) -> None:
    token = create_jwt(
        notifier.secret,
        tenant="acme",
        scopes=["investigations:write"],
        audience="penstock",
        lifetime=timedelta(minutes=5),
    )

    def report() -> None:
        with InvestigationLog(url, token, spool=tmp_path) as log:
            for number in range(700):
                log.log(stage="load_ftp", reason="file_missing", summary=f"no file {number}")
            with pytest.raises(TimeoutError), reporting(stage="load_mail", file="in/a.csv", log=log):
                raise TimeoutError("the mailbox does not answer")
            log.log(stage="airflow", reason="x", event_id="one")
            log.log(stage="airflow", reason="y", event_id="one")  # another event under its id
            log.log(stage="airflow", reason="", event_id="none")
            log.log(stage="load_ftp", reason="x", supplier="nobody", event_id="waits")
            assert log.flush()

            with PenstockClient(url, token) as client:
                again = client.log_investigation_event({"stage": "load_ftp", "reason": "z", "event_id": "z"})
                assert (again["outcome"], again["event_id"]) == ("created", "z")
            answer = log.send_now(stage="load_ftp", reason="file_missing", summary="no file 700")
            assert (answer["outcome"], answer["count"]) == ("grouped", 701)
            waiting = log.send_now(stage="load_ftp", reason="x", supplier="nobody")
            assert (waiting["outcome"], waiting["investigation_id"]) == ("quarantined", None)
            with pytest.raises(Refused, match="severity"):
                log.send_now(stage="load_ftp", reason="x", severity="bad")  # type: ignore[typeddict-item]
            log.log(stage="load_ftp", reason="file_missing", action="resolve")
            assert log.flush()

    await asyncio.to_thread(report)

    refused = [json.loads(line) for line in (tmp_path / REFUSED).read_text().splitlines()]
    assert [(each["event"]["event_id"], each["refused"]["code"]) for each in refused] == [
        ("one", "event_conflict"),
        ("none", "request_invalid"),
    ]
    response = await notifier.call("GET", "/investigations", params={"limit": 50})
    found = {(item["stage"], item["reason"]): item for item in response.json()["items"]}
    missing = found["load_ftp", "file_missing"]
    assert (missing["count"], missing["state"]) == (701, "resolved")
    timeout = found["load_mail", "timeout_error"]
    assert timeout["summary"] == "TimeoutError: the mailbox does not answer"
    assert set(found) == {
        ("load_ftp", "file_missing"), ("load_mail", "timeout_error"), ("airflow", "x"), ("load_ftp", "z"),
    }  # fmt: skip
