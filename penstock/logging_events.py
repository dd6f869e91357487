"""`penstock log-event`: report the error of a pipeline, or a file of them, from a shell."""

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from penstock.importing import Where, complain
from penstock.progress import say
from shared.client import ClientError, InvestigationLog, Json, PenstockClient, Refused
from shared.client.default_log import spool_bytes_from_environment
from shared.client.investigation_event import EventFields, investigation_event
from shared.client.investigation_log import HOPELESS, is_hopeless
from shared.client.spool import BATCH_BYTES, BATCH_EVENTS, SEGMENTS, Spool, event_of, line_of

ACCEPTED, FAILED = 0, 1  # exit codes
FLUSH_SECONDS = 10.0
PATIENCE_SECONDS = 600.0  # a quota is of a minute
SUMMARY_BYTES = 64 * 1024  # of standard input; what is beyond would be cut off anyway
REFUSED_SHOWN = 10
UNKNOWN_SHOWN = 10

# Where a batch is interrupted, what was accepted of it may be sent again.
NOT_ALL_SENT = "Send the same file again: what was accepted already counts once."
NOT_ALL_SENT_BARE = (
    "Send the lines from {line} on again: those before have been dealt with, and would count twice where they have neither"
    " event_id nor occurred_at."
)


def run(fields: EventFields, where: Where, *, spool: Path | None, as_json: bool) -> int:
    """Report one error, and what became of it.

    Args:
        spool: Where to keep the event if Penstock does not take it now; what waits there goes out too.

    Returns:
        ACCEPTED, also if it is kept; or FAILED.
    """
    errors = Console(stderr=True)
    event = investigation_event(fields)
    try:
        with PenstockClient(where.url, where.token) as client:
            answer = client.log_investigation_event(_repeatable_by_id(event, fields))
    except ClientError as error:
        complain(errors, error)
        if spool is None or _is_refused(error) or not _keep([event], spool, errors):
            return FAILED
        answer = {"event_id": event["event_id"], "outcome": "kept"}
    else:
        _flush(spool, where, errors)
    if as_json:
        say(Console(), json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        say(Console(), in_words(answer, event, where.url))
    return ACCEPTED


def in_words(answer: Json, event: Json, url: str) -> str:
    """What became of an event, and what is to be done about it."""
    outcome, investigation = answer["outcome"], answer.get("investigation_id")
    if outcome == "kept":
        return f"Kept for later, as event {answer['event_id']}."
    if outcome == "quarantined":
        supplier = json.dumps({"id": event.get("supplier"), "name": event.get("supplier")})
        adding = shlex.join(["curl", f"{url.rstrip('/')}/api/v1/suppliers", "-d", supplier])
        return (
            f"Kept in quarantine: the supplier {event.get('supplier')!r} is unknown. The event counts as soon as it is"
            f" added: {adding} -H 'Content-Type: application/json' -H \"Authorization: Bearer …\""
        )
    if outcome == "duplicate":
        return f"Known already; it counts once, in investigation {investigation}."
    if event.get("action") == "resolve":
        nothing = "Noted. No error is known that it ends: compare supplier, stage and reason."
        return f"The end of it is noted in investigation {investigation}." if answer["count"] else nothing
    if outcome == "created":
        return f"A new investigation was opened: {investigation}"
    what = "Reopened" if outcome == "reopened" else "Counted in"
    return f"{what} investigation {investigation}: event {answer['count']} since {answer['first_seen']}."


@dataclass
class Tally:
    """What became of the lines of a file.

    Attributes:
        outcomes: How many, by outcome; `kept` are in the spool.
        refused: The answers to those that were refused, with their `line`.
        unknown: The suppliers for whom the quarantined ones wait.
        dealt_with: The last line that need not be sent again.
        has_bare: There are lines which sent again would be other events.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[Json] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    dealt_with: int = 0
    has_bare: bool = False

    def in_order(self) -> list[Json]:
        """What was refused, by line; lines that are none were so before others were sent."""
        return sorted(self.refused, key=lambda item: item["line"])

    def document(self) -> Json:
        return {
            "accepted": self.outcomes.total(),
            "outcomes": dict(self.outcomes),
            "refused": self.in_order(),
            "unknown_suppliers": sorted(self.unknown),
        }


@dataclass(frozen=True)
class NumberedEvent:
    line: int
    event: Json


def run_batch(file: Path | None, where: Where, *, spool: Path | None, as_json: bool) -> int:
    """Report the errors in `file`, a JSON object a line as the API takes it; None: standard input.

    Returns:
        ACCEPTED: all of them, kept ones too; else FAILED.
    """
    errors = Console(stderr=True)
    tally = Tally()
    try:
        with PenstockClient(where.url, where.token) as client:
            for batch in _batches(file, tally):
                _send(client, batch, tally, spool, errors)
                tally.dealt_with = batch[-1].line
    except (ClientError, OSError) as error:
        complain(errors, error)
        goes_on = tally.has_bare and tally.dealt_with
        say(errors, NOT_ALL_SENT_BARE.format(line=tally.dealt_with + 1) if goes_on else NOT_ALL_SENT)
        return FAILED
    if "kept" not in tally.outcomes:
        _flush(spool, where, errors)
    if as_json:
        say(Console(), json.dumps(tally.document(), indent=2, ensure_ascii=False))
    else:
        _report(tally)
    return FAILED if tally.refused else ACCEPTED


def summary_from(text: str) -> str:
    """`-` is standard input."""
    if text != "-":
        return text
    return sys.stdin.buffer.read(SUMMARY_BYTES).decode("utf-8", "replace")


def extra_from(text: str) -> Any:
    """The JSON in `text`, or with `@` before it, in the file of that name.

    Raises:
        OSError, ValueError: there is none.
    """
    return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)


def _batches(file: Path | None, tally: Tally) -> Iterator[list[NumberedEvent]]:
    """As many events as are sent at once; lines that are none are refused here."""
    batch: list[NumberedEvent] = []
    size = 0
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        if (event := event_of(line)) is None:
            tally.refused.append({"line": number, "code": "no_json", "detail": "is no JSON object in UTF-8"})
            continue
        tally.has_bare |= _is_bare(event)
        event = _repeatable(event)
        length = len(line_of(event))
        if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(NumberedEvent(number, event))
        size += length
    if batch:
        yield batch


def _lines(file: Path | None) -> Iterator[bytes]:
    if file is None:
        yield from sys.stdin.buffer
        return
    with file.open("rb") as opened:
        yield from opened


def _repeatable_by_id(event: Json, fields: EventFields) -> Json:
    """The event without the time of this call, which would make another event of a repeated command with the same id."""
    if fields.get("event_id") is None or fields.get("occurred_at") is not None:
        return event
    return {name: value for name, value in event.items() if name != "occurred_at"}


def _is_bare(event: Json) -> bool:
    return "event_id" not in event and "occurred_at" not in event


def _repeatable(event: Json) -> Json:
    """The event, such that it is the same one when it is sent again."""
    if not _is_bare(event):
        return event  # without an id, the server makes one of the content
    made = investigation_event({"stage": "", "reason": ""})
    return event | {"event_id": made["event_id"], "occurred_at": made["occurred_at"]}


def _send(
    client: PenstockClient, batch: list[NumberedEvent], tally: Tally, spool: Path | None, errors: Console
) -> None:
    """Send these, again and again where a quota is used up.

    Raises:
        ClientError: they are not all accepted, and not kept.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while batch:
        try:
            items = client.log_investigation_events([each.event for each in batch])
        except ClientError as error:
            if spool is None or _is_refused(error):
                raise
            complain(errors, error)
            if not _keep([each.event for each in batch], spool, errors):
                raise
            tally.outcomes["kept"] += len(batch)
            return
        later = [(each, item) for each, item in zip(batch, items, strict=True) if _is_later(item)]
        for each, item in zip(batch, items, strict=True):
            if "outcome" in item:
                tally.outcomes[item["outcome"]] += 1
                if item["outcome"] == "quarantined":
                    tally.unknown.add(str(each.event.get("supplier")))
            elif not _is_later(item):
                tally.refused.append({"line": each.line, **item})
        batch = [each for each, _ in later]
        if batch:
            _wait([item for _, item in later], until, errors)


def _is_later(item: Mapping[str, Any]) -> bool:
    return item["status"] >= 400 and item["status"] not in HOPELESS


def _wait(items: list[Json], until: float, errors: Console) -> None:
    """Until a quota is there again.

    Raises:
        Refused: that would take too long.
    """
    wait = max(item.get("retry_after") or 1 for item in items)
    refused = Refused(items[0]["status"], items[0], retry_after=wait)
    if time.monotonic() + wait > until:
        raise refused
    say(errors, f"{refused} ({refused.code}); sending {len(items)} events again in {wait} s")
    time.sleep(wait)


def _is_refused(error: ClientError) -> bool:
    """Whether it is of no use to keep what this answers."""
    return isinstance(error, Refused) and is_hopeless(error)


def _keep(events: list[Json], folder: Path, errors: Console) -> bool:
    """Whether these are in the spool now."""
    spool = Spool(folder, max_bytes=spool_bytes_from_environment())
    try:
        for event in events:
            spool.append(event)
        spool.sync()
    except OSError as error:
        say(errors, f"the spool {folder} cannot be written: {error.strerror or error}", style="red")
        return False
    finally:
        spool.close()
    if spool.dropped:
        say(errors, f"the spool {folder} is full; its {spool.dropped} oldest events were dropped")
    say(
        errors,
        f"{folder} keeps it; the next program that uses this spool sends it, as does this command with --spool",
    )
    return True


def _flush(spool: Path | None, where: Where, errors: Console) -> None:
    """Send what waits in the spool."""
    if spool is None or not any(spool.glob(SEGMENTS)):
        return
    with InvestigationLog(where.url, where.token, spool=spool) as log:
        if not log.flush(FLUSH_SECONDS):
            say(errors, f"events still wait in {spool}")


def _report(tally: Tally) -> None:
    console = Console()
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.outcomes.items()))
    say(console, f"{tally.outcomes.total()} accepted" + (f": {said}" if said else ""))
    if tally.unknown:
        names = ", ".join(sorted(tally.unknown)[:UNKNOWN_SHOWN])
        more = " …" if len(tally.unknown) > UNKNOWN_SHOWN else ""
        say(console, f"Those in quarantine count as soon as their suppliers are added: {names}{more}")
    if not tally.refused:
        return
    say(console, f"{len(tally.refused)} refused:")
    for item in tally.in_order()[:REFUSED_SHOWN]:
        say(console, f"  line {item['line']}: {item.get('detail')} ({item.get('code')})")
    if len(tally.refused) > REFUSED_SHOWN:
        say(console, "  … and more; --json shows all")
