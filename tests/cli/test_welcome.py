"""What `penstock up` does about samples when something is wrong that nobody thought of."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from rich.console import Console

from penstock import samples, welcome
from penstock.home import Home
from penstock.welcome import Options, Welcome


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that were sent, (process, number) each; none arrives."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(welcome.os, "kill", lambda process, number: found.append((process, number)))
    return found


class ReadyClient:
    """A Penstock that is ready at once."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "ReadyClient":
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_until_ready(self) -> None: ...


@pytest.mark.parametrize("error", [KeyError("rows_detected"), json.JSONDecodeError("no JSON", "<html>", 0)])
def test_an_error_nobody_thought_of_ends_a_demo_with_1(
    error: Exception, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> list[str]:
        raise error

    monkeypatch.setattr(welcome, "PenstockClient", ReadyClient)
    monkeypatch.setattr(samples, "import_all", fail)
    output = StringIO()
    shown = Welcome(
        Options(exit_when_done=True), Home(tmp_path), "token", Console(file=output), begun_before=False
    )

    shown._run()

    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert shown.exit_code == 1
    assert f"the samples were not imported: {type(error).__name__}: {error}" in output.getvalue()


def test_a_terminal_that_cannot_be_written_to_ends_a_demo_too(
    sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(welcome, "PenstockClient", ReadyClient)
    monkeypatch.setattr(welcome, "say", fail)
    shown = Welcome(
        Options(samples=False, exit_when_done=True), Home(tmp_path), "token", Console(), begun_before=False
    )

    with pytest.raises(BrokenPipeError):
        shown._run()

    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert shown.exit_code == 1


TOKEN = "a.b." + "c" * 300  # longer than a line, which must not break it


def test_a_link_signs_in_for_some_hours_with_a_token_that_no_server_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(welcome, "PenstockClient", ReadyClient)
    monkeypatch.delenv("PENSTOCK_JWT_SECRET", raising=False)
    home = Home(tmp_path)
    secret = home.jwt_secret()
    output = StringIO()
    Welcome(Options(samples=False, port=8123), home, TOKEN, Console(file=output), begun_before=False)._run()
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert ["token", TOKEN] in lines
    [address] = [line[1] for line in lines if line[:1] == ["console"]]
    page, token = address.split("#")
    assert page == "http://127.0.0.1:8123/sign-in"
    claims = jwt.decode(token, secret, algorithms=["HS256"], audience="penstock")
    assert (claims["tenant"], claims["scope"]) == ("demo", "admin")
    left = datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC)
    assert timedelta(hours=11) < left <= timedelta(hours=12)


def test_that_webhooks_may_go_to_private_addresses_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(welcome, "PenstockClient", ReadyClient)
    for value, lines in (("true", 1), ("false", 0)):
        monkeypatch.setenv("PENSTOCK_WEBHOOK_ALLOW_PRIVATE", value)
        output = StringIO()
        home = Home(tmp_path)
        home.jwt_secret()
        Welcome(Options(samples=False), home, "token", Console(file=output), begun_before=False)._run()
        assert output.getvalue().count("PENSTOCK_WEBHOOK_ALLOW_PRIVATE=false forbids it") == lines
