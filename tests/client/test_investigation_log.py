"""Events on their way: Penstock away, slow or refusing; pipelines that are killed, fork, or cannot write."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.client import ClientError, InvestigationLog
from shared.client.spool import REFUSED
from tests.client.given import Pipeline, Receiver, until, waits

Start = Callable[[str], Pipeline]


def delivered(log: InvestigationLog) -> None:
    """Every flush is one more try at once."""
    until(lambda: log.flush(0.2))


def test_what_is_logged_while_penstock_is_away_arrives_once_and_in_order(
    receiver: Receiver, spool: Path, log: InvestigationLog, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [log.log(stage="load_ftp", reason="file_missing", summary=f"no file {n}") for n in range(1100)]
    assert not log.flush(0.3)
    assert "nobody answers" in caplog.text
    assert [event["event_id"] for event in waits(spool)] == ids

    receiver.start()
    delivered(log)

    assert [event["event_id"] for event in receiver.bodies] == ids
    assert max(receiver.sizes) == 500
    assert waits(spool) == []
    assert receiver.bodies[7] == {
        "event_id": ids[7],
        "occurred_at": receiver.bodies[7]["occurred_at"],
        "stage": "load_ftp",
        "reason": "file_missing",
        "summary": "no file 7",
    }


def test_a_server_that_never_answers_holds_nobody_up(receiver: Receiver, spool: Path) -> None:
    log = InvestigationLog(receiver.url, "secret", spool=spool)
    receiver.hangs = True
    receiver.start()
    ids = [log.log(stage="load_mail", reason="mailbox_locked")]
    until(lambda: receiver.tokens)

    ids += [log.log(stage="load_mail", reason="mailbox_locked") for _ in range(50)]

    assert [event["event_id"] for event in waits(spool)] == ids
    assert len(receiver.tokens) == 1
    log.close(timeout=0.05)


async def test_coroutines_log_without_waiting_for_the_network(
    receiver: Receiver, spool: Path, log: InvestigationLog
) -> None:
    event_id = await log.log_async(stage="load_mail", reason="mailbox_locked", supplier="acme")

    assert [event["event_id"] for event in waits(spool)] == [event_id]
    receiver.start()
    delivered(log)
    assert receiver.events == {event_id: 1}


def test_an_event_that_is_refused_is_set_aside_and_the_others_are_not(
    receiver: Receiver, spool: Path, log: InvestigationLog, caplog: pytest.LogCaptureFixture
) -> None:
    problem = {"code": "event_conflict", "detail": "the id is taken", "hint": "send it under another id"}
    receiver.verdict = lambda event: (409, problem) if event["reason"] == "wrong" else None
    receiver.start()

    for reason in ("right", "wrong", "right"):
        log.log(stage="load_ftp", reason=reason)
    delivered(log)

    assert len(receiver.events) == 2
    [aside] = [json.loads(line) for line in (spool / REFUSED).read_text().splitlines()]
    assert aside["event"]["reason"] == "wrong"
    assert aside["refused"] == {"status": 409, **problem}
    assert "1 investigation event(s) were refused" in caplog.text
    assert "the id is taken (event_conflict)" in caplog.text


def test_a_request_that_is_refused_as_a_whole_is_divided_until_the_event_is_found(
    receiver: Receiver, spool: Path, log: InvestigationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = receiver.answered

    def too_large(body, *, is_batch):
        if any(event["reason"] == "large" for event in body["events"]):
            return 413, "<html>Request Entity Too Large</html>", {}
        return answered(body, is_batch=is_batch)

    monkeypatch.setattr(receiver, "answered", too_large)
    for reason in ["small"] * 5 + ["large"] + ["small"] * 4:
        log.log(stage="load_ftp", reason=reason)
    receiver.start()
    delivered(log)

    assert len(receiver.events) == 9
    assert max(receiver.events.values()) == 1
    assert json.loads((spool / REFUSED).read_text())["refused"]["status"] == 413


def test_what_is_not_sent_yet_of_a_divided_request_waits_on(
    receiver: Receiver, spool: Path, log: InvestigationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = receiver.answered
    quota = [(429, {"code": "quota_exceeded", "detail": "too many", "retry_after": 600})]
    receiver.verdict = lambda event: quota.pop() if quota and event["reason"] == "1" else None

    def two_at_most(body, *, is_batch):
        too_many = len(body["events"]) > 2
        return (413, "<html></html>", {}) if too_many else answered(body, is_batch=is_batch)

    monkeypatch.setattr(receiver, "answered", two_at_most)
    ids = [log.log(stage="load_ftp", reason=str(number)) for number in range(8)]
    receiver.start()
    delivered(log)

    assert receiver.events == dict.fromkeys(ids, 1)


def test_a_flush_sends_what_others_have_left_a_moment_ago(
    receiver: Receiver, spool: Path, log: InvestigationLog
) -> None:
    receiver.start()
    first = log.log(stage="load_ftp", reason="x")
    delivered(log)
    with InvestigationLog(Receiver().url, "secret", spool=spool) as other:
        left = other.log(stage="load_mail", reason="x")

    delivered(log)

    assert receiver.events == {first: 1, left: 1}


def test_a_used_up_quota_and_a_busy_server_are_waited_for(
    receiver: Receiver, spool: Path, log: InvestigationLog
) -> None:
    quota = [(429, {"code": "quota_exceeded", "detail": "too many", "retry_after": 600})]
    receiver.answers = [(503, {"Retry-After": "600"})]
    receiver.verdict = lambda event: quota.pop() if quota and event["reason"] == "2" else None
    receiver.start()

    ids = [log.log(stage="load_ftp", reason=str(number)) for number in range(4)]
    until(lambda: not receiver.answers)
    assert len(waits(spool)) == 4
    delivered(log)

    assert receiver.events == dict.fromkeys(ids, 1)
    assert not (spool / REFUSED).exists()


def test_a_wrong_address_costs_no_event(
    receiver: Receiver, spool: Path, log: InvestigationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        (400, "<html>The plain HTTP request was sent to HTTPS port</html>", {}),
        (404, {"code": "not_found", "detail": "there is nothing"}, {}),
        (200, {"welcome": "to another server"}, {}),
    ]
    answered = receiver.answered
    monkeypatch.setattr(
        receiver, "answered", lambda body, **more: answers.pop(0) if answers else answered(body, **more)
    )
    receiver.start()

    ids = [log.log(stage="load_ftp", reason="x") for _ in range(3)]
    delivered(log)

    assert receiver.events == dict.fromkeys(ids, 1)
    assert not (spool / REFUSED).exists()


def test_a_wrong_token_costs_no_event_and_may_be_renewed(
    receiver: Receiver, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = ["new", "old"]
    receiver.answers = [(401, {})]
    receiver.start()

    with InvestigationLog(receiver.url, tokens.pop, spool=spool) as log:
        event_id = log.log(stage="airflow", reason="task_failed")
        delivered(log)

    assert receiver.events == {event_id: 1}
    assert receiver.tokens == ["Bearer old", "Bearer new"]
    assert "so the test wants it (for_the_test)" in caplog.text


def test_where_nothing_can_be_written_events_wait_in_memory(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with InvestigationLog(receiver.url, "secret", spool=tmp_path / "file" / "spool") as log:
        ids = [log.log(stage="consolidate", reason="brand_mismatch") for _ in range(5)]
        assert not log.flush(0.3)
        receiver.start()
        delivered(log)
    away = Receiver()
    with InvestigationLog(away.url, "secret", spool=tmp_path / "file" / "spool") as log:
        log.log(stage="consolidate", reason="brand_mismatch")

    assert [event["event_id"] for event in receiver.bodies] == ids
    assert "cannot be written (Not a directory)" in caplog.text
    assert "1 investigation events are lost" in caplog.text


def test_the_answer_can_be_waited_for(receiver: Receiver, spool: Path, log: InvestigationLog) -> None:
    with pytest.raises(ClientError):
        log.send_now(stage="load_mail", reason="mailbox_locked")
    receiver.start()

    assert log.send_now(stage="load_mail", reason="mailbox_locked", event_id="7")["outcome"] == "created"
    assert not spool.exists()


LOGS_UNTIL_KILLED = """
from shared.client import log_investigation_event
number = 0
while True:
    print(log_investigation_event(stage="load_ftp", reason="x", summary=f"{number}"), flush=True)
    number += 1
"""


def test_a_pipeline_that_is_killed_loses_nothing_that_was_logged(
    receiver: Receiver, pipeline: Start, log: InvestigationLog
) -> None:
    receiver.start()
    killed = pipeline(LOGS_UNTIL_KILLED)
    until(lambda: len(receiver.events) > 300)
    logged = killed.kill()

    delivered(log)

    assert set(logged) <= set(receiver.events)
    # The last one may have been written and not printed.
    assert len(receiver.events) - len(logged) in {0, 1}
    bodies = {body["event_id"]: body for body in receiver.bodies}
    assert all(bodies[body["event_id"]] == body for body in receiver.bodies)


TWO_AT_ONCE = """
from shared.client.default_log import default_log, log_investigation_event
for number in range(300):
    print(log_investigation_event(stage="load_ftp", reason="x", summary=f"{number}"))
print("logged", flush=True)
input()
log = default_log()
while not log.flush(0.5):
    pass
"""


def test_processes_share_a_spool(receiver: Receiver, pipeline: Start, spool: Path) -> None:
    both = [pipeline(TWO_AT_ONCE) for _ in range(2)]
    ids = [each.line() for each in both for _ in range(300)]
    assert [each.line() for each in both] == ["logged"] * 2
    receiver.start()
    for each in both:
        assert each.process.stdin
        each.process.stdin.write("\n")
    for each in both:
        each.end()

    assert receiver.events == dict.fromkeys(ids, 1)
    assert list(spool.iterdir()) == []


FORKS = """
import os
from shared.client.default_log import default_log, log_investigation_event
print(log_investigation_event(stage="airflow", reason="x", summary="parent, before"), flush=True)
for child in range(3):
    pid = os.fork()
    if not pid:
        for number in range(20):
            print(log_investigation_event(stage="airflow", reason="x", summary=f"{child} {number}"), flush=True)
        if child == 0:
            os._exit(0)  # as multiprocessing ends its children
        if child == 1:
            default_log().flush()
            os.kill(os.getpid(), 9)
        raise SystemExit
    os.waitpid(pid, 0)
print(log_investigation_event(stage="airflow", reason="x", summary="parent, after"), flush=True)
default_log().flush()
"""


def test_children_have_logs_of_their_own(receiver: Receiver, pipeline: Start, spool: Path) -> None:
    receiver.start()

    ids, _ = pipeline(FORKS).end()

    assert len(ids) == 62
    assert receiver.events == dict.fromkeys(ids, 1)
    assert waits(spool) == []


DISK_FULL = """
import resource
from shared.client.default_log import default_log, log_investigation_event
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
for number in range(60):
    print(log_investigation_event(stage="load_ftp", reason="x", summary=f"{number}"))
print("full", flush=True)
input()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(log_investigation_event(stage="load_ftp", reason="x", summary="room again"))
while not default_log().flush(0.5):
    pass
"""


def test_a_disk_that_is_full_in_the_middle_of_an_event_costs_none(
    receiver: Receiver, pipeline: Start, spool: Path
) -> None:
    limited = pipeline(DISK_FULL)
    ids = [limited.line() for _ in range(60)]
    assert limited.line() == "full"
    assert 0 < len(waits(spool)) < 60

    receiver.start()
    assert limited.process.stdin
    limited.process.stdin.write("\n")
    last, errors = limited.end()

    assert receiver.events == dict.fromkeys(ids + last, 1)
    assert "cannot be written (File too large); events wait in memory" in errors


ENDS = """
import sys
from shared.client import log_investigation_event
print(*sys.modules)
for number in range(3):
    print(log_investigation_event(stage="load_mail", reason="x", summary=f"{number}"), flush=True)
"""


def test_a_short_program_needs_little_to_report_and_ends_when_it_has(
    receiver: Receiver, pipeline: Start
) -> None:
    receiver.start()

    words, errors = pipeline(ENDS).end()

    assert errors == ""
    assert receiver.events == dict.fromkeys(words[-3:], 1)
    roots = {name.partition(".")[0] for name in words}
    assert "httpx" in roots
    assert not roots & {"services", "penstock", "fastapi", "sqlalchemy", "pydantic", "typer", "structlog"}


LOGS_WHEN_INTERRUPTED = """
import signal
from shared.client import log_investigation_event

def report(*_):
    print(log_investigation_event(stage="airflow", reason="interrupted"), flush=True)

signal.signal(signal.SIGUSR1, report)
print("ready", flush=True)
for number in range(1500):
    log_investigation_event(stage="airflow", reason="x", summary=f"{number}", extra={"text": "x" * 500})
print("done", flush=True)
"""


def test_a_signal_handler_may_log_while_its_thread_does(
    receiver: Receiver, pipeline: Start, spool: Path
) -> None:
    logging_still = pipeline(LOGS_WHEN_INTERRUPTED)
    assert logging_still.line() == "ready"
    ids = []
    for _ in range(20):
        logging_still.process.send_signal(signal.SIGUSR1)
        ids.append(logging_still.line())
    logging_still.end()

    kept = {event["event_id"] for event in waits(spool)}
    assert set(ids) - {"done"} <= kept
    assert len(kept) == 1500 + len(set(ids) - {"done"})


WITHOUT_LOCKS = """
import os, sys
import httpx  # which is written for this system here
sys.modules["fcntl"] = None
for name in ("register_at_fork", "getuid", "pread", "O_CLOEXEC"):
    delattr(os, name)
from shared.client.default_log import default_log, log_investigation_event
for number in range(3):
    print(log_investigation_event(stage="load_mail", reason="x", summary=f"{number}"), flush=True)
while not default_log().flush(0.5):
    pass
"""


def test_on_windows_events_wait_in_memory(receiver: Receiver, pipeline: Start) -> None:
    there = pipeline(WITHOUT_LOCKS)
    ids = [there.line() for _ in range(3)]
    receiver.start()
    _, errors = there.end()

    assert receiver.events == dict.fromkeys(ids, 1)
    assert "cannot be written (it needs file locks of POSIX, which this system does not have)" in errors
