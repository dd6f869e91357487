"""`penstock log-event` against a server that answers as the API does; and everything against the real one."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from penstock.cli import app
from tests.client.given import Receiver, waits


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def environment(receiver: Receiver, tmp_path: Path) -> dict[str, str]:
    return {
        "PENSTOCK_URL": receiver.url,
        "PENSTOCK_TOKEN": "secret",
        "PENSTOCK_SPOOL": str(tmp_path / "spool"),
        "COLUMNS": "200",
    }


def log_event(environment: dict[str, str], *arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner(env=environment).invoke(app, ["log-event", *map(str, arguments)], input=stdin)


IT = ("--stage", "load_ftp", "--reason", "file_missing")


def test_all_that_can_be_said_is_sent(
    receiver: Receiver, environment: dict[str, str], tmp_path: Path
) -> None:
    receiver.start()
    (tmp_path / "prices.csv").write_text("abc")
    (tmp_path / "extra.json").write_text('{"try": 3}')

    done = log_event(
        environment, *IT, "--supplier", "acme", "--severity", "critical", "--summary", "-",
        "--file", tmp_path / "prices.csv", "--rows", "7", "--occurred-at", "2026-03-29T06:00:00+02:00",
        "--event-id", "ftp-1", "--fingerprint", "acme-ftp", "--extra", f"@{tmp_path / 'extra.json'}",
        stdin="no file since Monday\n",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert done.stdout == "A new investigation was opened: 0f3c\n"
    assert receiver.bodies == [
        {
            "event_id": "ftp-1",
            "occurred_at": "2026-03-29T06:00:00+02:00",
            "supplier": "acme",
            "stage": "load_ftp",
            "reason": "file_missing",
            "severity": "critical",
            "file": {
                "path": str(tmp_path / "prices.csv"),
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "size": 3,
                "rows": 7,
            },
            "summary": "no file since Monday",
            "fingerprint": "acme-ftp",
            "extra": {"try": 3},
        }
    ]
    again = log_event(environment, *IT, "--event-id", "ftp-1", "--json", "--resolve")
    assert json.loads(again.stdout)["outcome"] == "duplicate"
    # Without the time of the call, the same command is the same event.
    assert receiver.bodies[-1] == {
        "event_id": "ftp-1",
        "stage": "load_ftp",
        "reason": "file_missing",
        "action": "resolve",
    }


def test_a_refusal_exits_1_and_says_what_to_do(receiver: Receiver, environment: dict[str, str]) -> None:
    problem = {"code": "event_conflict", "detail": "event 7 is another one", "hint": "give another id"}
    receiver.verdict = lambda _: (409, problem)
    receiver.start()

    done = log_event(environment, *IT, "--spool")

    assert done.exit_code == 1
    assert done.stderr == "event 7 is another one (event_conflict)\nhint: give another id\n"
    assert waits(Path(environment["PENSTOCK_SPOOL"])) == []


def test_where_nobody_answers_the_event_is_kept_if_that_is_asked_for(
    receiver: Receiver, environment: dict[str, str]
) -> None:
    spool = Path(environment["PENSTOCK_SPOOL"])
    lost = log_event(environment, *IT)
    kept = log_event(environment, *IT, "--spool", "--json")
    [event] = waits(spool)
    receiver.start()
    next_one = log_event(environment, *IT, "--spool")

    assert (lost.exit_code, kept.exit_code, next_one.exit_code) == (1, 0, 0)
    assert "nobody answers" in lost.stderr
    assert json.loads(kept.stdout) == {"event_id": event["event_id"], "outcome": "kept"}
    assert receiver.events[event["event_id"]] == 1
    assert len(receiver.events) == 2
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--stage", "load_ftp"), "say where and what it was"),
        ((*IT, "--extra", "{"), "--extra"),
        ((*IT, "--extra", "@no_file"), "no_file cannot be read: No such file"),
        (("--batch", "no_file"), "there is no file no_file"),
        ((*IT, "--severity", "bad"), "info, warning, error, critical"),
        ((*IT, "--occurred-at", "today"), "is no time such as"),
        ((*IT, "--batch", "-"), "leave the other options out"),
    ],
)
def test_what_is_wrong_on_the_command_line_exits_2(
    environment: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    done = log_event(environment, *arguments)

    assert done.exit_code == 2
    assert said in done.stderr


def test_a_file_of_events_is_sent_and_each_line_is_judged_by_itself(
    receiver: Receiver, environment: dict[str, str], tmp_path: Path
) -> None:
    quota = [(429, {"code": "quota_exceeded", "detail": "too many", "retry_after": 1})]
    wrong = (422, {"code": "request_invalid", "detail": "no reason"})
    receiver.verdict = lambda event: wrong if "reason" not in event else quota.pop() if quota else None
    receiver.start()
    lines: list[Any] = [{"stage": "a", "reason": "b", "event_id": str(n)} for n in range(600)]
    lines[3] = {"stage": "a", "occurred_at": "2026-03-29T06:00:00Z"}
    text = "\n".join([*map(json.dumps, lines), "", "nonsense", '{"stage": "a", "reason": NaN}'])
    (tmp_path / "events.jsonl").write_text(text)

    done = log_event(environment, "--batch", tmp_path / "events.jsonl")

    assert done.exit_code == 1
    assert receiver.events == {str(n): 1 for n in range(600) if n != 3}
    assert done.stdout.splitlines()[:3] == [
        "599 accepted: 599 created",
        "3 refused:",
        "  line 4: no reason (request_invalid)",
    ]
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[3:]] == ["  line 602", "  line 603"]
    assert "sending 1 events again in 1 s" in done.stderr


def test_of_a_file_it_is_told_who_is_unknown_and_what_is_wrong_in_its_order(
    receiver: Receiver, environment: dict[str, str]
) -> None:
    receiver.verdict = lambda event: (
        (202, {"outcome": "quarantined"}) if "reason" in event else (422, {"code": "request_invalid"})
    )
    receiver.start()
    unknown = '{"stage": "a", "reason": "b", "supplier": "beta"}'
    stdin = f'{{"stage": "a"}}\nnonsense\n{unknown}\n{unknown}\n'

    said = log_event(environment, "--batch", "-", stdin=stdin).stdout.splitlines()

    assert said[1] == "Those in quarantine count as soon as their suppliers are added: beta"
    assert [line.partition(":")[0] for line in said[3:]] == ["  line 1", "  line 2"]


def test_a_file_of_events_is_kept_where_nobody_answers(
    receiver: Receiver, environment: dict[str, str]
) -> None:
    stdin = '{"stage": "a", "reason": "b"}\n{"stage": "a", "reason": "b"}\n'

    lost = log_event(environment, "--batch", "-", stdin=stdin)
    kept = log_event(environment, "--batch", "-", "--spool", stdin=stdin)

    assert (lost.exit_code, kept.exit_code) == (1, 0)
    assert "Send the same file again" in lost.stderr
    assert kept.stdout == "2 accepted: 2 kept\n"
    first, second = waits(Path(environment["PENSTOCK_SPOOL"]))
    assert first["event_id"] != second["event_id"]
    assert datetime.fromisoformat(first["occurred_at"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"stage": "a", "reason": "b"}, "Send the lines from 501 on again"),
        ({"stage": "a", "reason": "b", "event_id": "7"}, "Send the same file again"),
    ],
)
def test_where_a_file_breaks_off_it_is_told_what_to_send_again(
    receiver: Receiver, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, line: Any, told: str
) -> None:
    answered = receiver.answered

    def wrong_then(body: Any, **more: Any) -> Any:
        return (401, {}, {}) if receiver.sizes else answered(body, **more)

    monkeypatch.setattr(receiver, "answered", wrong_then)
    receiver.start()

    broken = log_event(environment, "--batch", "-", stdin=f"{json.dumps(line)}\n" * 600)

    assert receiver.events.total() == 500
    assert broken.exit_code == 1
    assert told in broken.stderr
