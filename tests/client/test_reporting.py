"""What pipelines write: a step within `reporting`, a logging handler, values of any kind."""

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.client import InvestigationHandler, InvestigationLog, described_file, reporting
from shared.client.default_log import default_log, log_investigation_event, log_investigation_event_async
from shared.client.investigation_event import EXTRA_BYTES, fitting_extra, investigation_event, reason_of
from tests.client.given import Receiver, until, waits


def test_an_exception_is_reported_and_goes_on_its_way(spool: Path, log: InvestigationLog) -> None:
    step = reporting(stage="load_ftp", supplier="acme", file="in/prices.csv", extra={"try": 2}, log=log)

    with pytest.raises(ConnectionRefusedError), step:
        raise ConnectionRefusedError("ftp.acme.example refused us")
    with step:
        pass

    [event] = waits(spool)
    trace = event["extra"].pop("traceback")
    assert trace.endswith("ConnectionRefusedError: ftp.acme.example refused us")
    assert "test_reporting.py" in trace
    assert {name: event[name] for name in event if name not in {"event_id", "occurred_at"}} == {
        "stage": "load_ftp",
        "supplier": "acme",
        "reason": "connection_refused_error",
        "severity": "error",
        "summary": "ConnectionRefusedError: ftp.acme.example refused us",
        "file": {"path": "in/prices.csv"},
        "extra": {"try": 2},
    }


def test_a_step_that_ends_well_resolves_what_it_is_named_for(spool: Path, log: InvestigationLog) -> None:
    @reporting(stage="load_mail", supplier="acme", reason="mailbox_failed", resolve=True, log=log)
    def load(succeeds: bool) -> str:
        if not succeeds:
            raise TimeoutError
        return "loaded"

    with pytest.raises(TimeoutError):
        load(succeeds=False)
    assert load(succeeds=True) == "loaded"

    first, second = waits(spool)
    assert (first["reason"], first["summary"]) == ("mailbox_failed", "TimeoutError")
    assert (second["reason"], second["action"]) == ("mailbox_failed", "resolve")
    assert "summary" not in second
    with pytest.raises(ValueError, match="resolve needs a reason"):
        reporting(stage="load_mail", resolve=True)


async def test_coroutines_are_reported_and_cancellations_are_not(spool: Path, log: InvestigationLog) -> None:
    @reporting(stage="consolidate", log=log)
    async def consolidate() -> None:
        await asyncio.sleep(0)
        raise KeyError("brand")

    async def waiting() -> None:
        async with reporting(stage="consolidate", log=log):
            await asyncio.sleep(60)

    with pytest.raises(KeyError):
        await consolidate()
    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [event["reason"] for event in waits(spool)] == ["key_error"]


@pytest.fixture
def logger(log: InvestigationLog) -> Iterator[logging.Logger]:
    handler = InvestigationHandler(stage="load_ftp", supplier="acme", log=log)
    logging.getLogger().addHandler(handler)
    yield logging.getLogger("pipeline")
    logging.getLogger().removeHandler(handler)


def test_what_is_logged_as_an_error_is_an_event(spool: Path, logger: logging.Logger) -> None:
    logger.warning("slow")
    logger.error("no file of %s", "today", extra={"reason": "file_missing", "supplier": "other"})
    try:
        Path("prices.csv/").read_text()
    except FileNotFoundError:
        logger.exception("cannot read")
    logger.critical("no disk")

    events = [
        [event[name] for name in ("reason", "supplier", "severity", "summary")] for event in waits(spool)
    ]
    assert events == [
        ["file_missing", "other", "error", "no file of today"],
        ["file_not_found_error", "acme", "error", "cannot read"],
        ["unexpected", "acme", "critical", "no disk"],
    ]
    assert "prices.csv" in waits(spool)[1]["extra"]["traceback"]


def test_what_sending_says_of_itself_is_no_event(
    receiver: Receiver, spool: Path, log: InvestigationLog, logger: logging.Logger
) -> None:
    logging.getLogger().handlers[-1].setLevel(logging.DEBUG)
    logger.error("it")
    assert not log.flush(0.3)  # warns
    receiver.start()
    until(lambda: log.flush(0.2))
    logging.getLogger("httpx").error("a proxy is wrong")

    assert [body["summary"] for body in receiver.bodies] == ["it"]
    assert waits(spool) == []


def test_a_message_that_cannot_be_formatted_raises_nothing(
    spool: Path, log: InvestigationLog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = logging.getLogger("alone")
    monkeypatch.setattr(alone, "propagate", False)
    monkeypatch.setattr(alone, "handlers", [InvestigationHandler(stage="load_ftp", log=log)])

    alone.error("%d files", "seven")

    assert waits(spool) == []
    assert "not str" in capsys.readouterr().err


async def test_the_environment_says_where_to(
    receiver: Receiver, spool: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from a file\n")
    for name, value in {"URL": receiver.url, "TOKEN_FILE": tmp_path / "token", "SPOOL": spool}.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", str(value))
    monkeypatch.setenv("PENSTOCK_SPOOL_BYTES", "a lot")
    receiver.start()
    default_log.cache_clear()
    try:
        ids = [
            log_investigation_event(stage="load_mail", reason="x"),
            await log_investigation_event_async(stage="load_mail", reason="x"),
        ]
        until(lambda: default_log().flush(0.2))
    finally:
        default_log().close()
        default_log.cache_clear()

    assert receiver.events == dict.fromkeys(ids, 1)
    assert set(receiver.tokens) == {"Bearer from a file"}


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError


class MoreHostile(Hostile):
    def __repr__(self) -> str:
        raise RuntimeError


itself: list[Any] = []
itself.append(itself)
deep: list[Any] = []
for _ in range(300):
    deep = [deep]
anything = st.recursive(
    st.none()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc"]))
    | st.binary()
    | st.floats()
    | st.integers()
    | st.datetimes()
    | st.sampled_from([Hostile(), itself, deep, Path("/a\udcff"), object, "é\n" * 20_000]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@example({"file": Path("/\ud800"), "extra": {"file": "\ud800\0"}})
@given(
    st.fixed_dictionaries(dict.fromkeys(("summary", "supplier", "file", "extra", "occurred_at"), anything))
)
def test_no_value_makes_reporting_raise_or_the_event_too_large(fields: dict[str, Any]) -> None:
    event = investigation_event({"stage": "airflow", "reason": "x", **fields})

    text = json.dumps(event, ensure_ascii=False, allow_nan=False)
    assert text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")
    assert len(event.get("summary", "")) <= 2000
    extra = json.dumps(event.get("extra", {}), ensure_ascii=False, separators=(",", ":"))
    assert len(extra.encode()) <= EXTRA_BYTES


def test_the_end_of_a_traceback_is_kept_and_the_rest_of_extra(spool: Path, log: InvestigationLog) -> None:
    with pytest.raises(ValueError, match="é"), reporting(stage="airflow", extra={"dag": "prices"}, log=log):
        raise ValueError("é" * 20_000 + " the end")

    [event] = waits(spool)
    assert event["extra"]["dag"] == "prices"
    assert event["extra"]["traceback"].endswith("é the end")
    assert event["summary"].endswith("é…")
    assert fitting_extra(event["extra"]) == event["extra"]


def test_times_and_files_and_what_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_bytes(b"abc")
    event = investigation_event(
        {
            "stage": "load_mail",
            "reason": "x",
            "occurred_at": datetime.fromisoformat("2026-03-29T06:00:00"),
            "file": described_file(tmp_path / "prices.csv", rows=7),
        }
    )

    assert datetime.fromisoformat(event["occurred_at"]).utcoffset() is not None
    assert event["file"] == {
        "path": str(tmp_path / "prices.csv"),
        "rows": 7,
        "size": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    assert investigation_event({"stage": "x", "reason": "x", "extra": MoreHostile()})["extra"] == {
        "value": "<MoreHostile>"
    }
    assert described_file("gone.csv") == {"path": "gone.csv"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FTPError", "ftp_error"),
        ("HTTPStatusError", "http_status_error"),
        ("error_perm", "error_perm"),
        ("_OSError2", "os_error2"),
    ],
)
def test_a_class_is_named_as_reasons_are(name: str, reason: str) -> None:
    assert reason_of(type(name, (Exception,), {})) == reason
