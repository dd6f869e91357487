"""An investigation event as a pipeline reports it, made to fit what the API takes. Pure but for the clock; never raises.

Who reports an error is in trouble already: a summary that is too long, a number that is no JSON or a file name that is no
text must not cost the report. So what may be cut is cut, and what cannot be written as JSON is written as text.
"""

import json
import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal, Required, TypedDict
from uuid import uuid4

Json = dict[str, Any]
Severity = Literal["info", "warning", "error", "critical"]
Action = Literal["trigger", "resolve"]

# What the API takes of each; beyond that, the whole event would be refused.
SUMMARY_LENGTH = 2000
PATH_LENGTH = 1024
EXTRA_BYTES = 16 * 1024  # of JSON in UTF-8
EXTRA_DEPTH = 30  # levels; the API takes 32, of which one may be ours
CUT = "…"


class EventFields(TypedDict, total=False):
    """What may be said of an error.

    Attributes:
        stage: Where in the pipeline it happened: `load_mail`, `load_ftp`, `consolidate`, `airflow`, …
        reason: What happened, as a code: `file_missing`.
        supplier: Whose data it is about, by the supplier's id.
        severity: `error`, unless said.
        summary: For people. Numbers, ids and paths in it do not matter for the grouping. Cut after 2,000 characters.
        file: The file that it is about: its path, or `described_file(path)`, or members `path`, `sha256`, `size`, `rows`.
        extra: Anything else, as JSON; kept up to 16 KiB.
        action: `resolve` says that the error is over; without summary and fingerprint, all of this supplier, stage and
            reason are.
        fingerprint: What to group by, instead of the summary.
        occurred_at: Now, unless said. One without an offset is this machine's local time.
        event_id: The same id is the same event, and counts once; said again, it must be the same in all else, `occurred_at`
            too. A new one, unless said.
    """

    stage: Required[str]
    reason: Required[str]
    supplier: str | None
    severity: Severity | None
    summary: str | None
    file: str | PurePath | Mapping[str, Any] | None
    extra: Any
    action: Action | None
    fingerprint: str | None
    occurred_at: datetime | str | None
    event_id: str | None


def investigation_event(fields: EventFields) -> Json:
    """The event as the API takes it, with an id and a time."""
    given: Json = {name: value for name, value in fields.items() if value is not None}
    event: Json = {"event_id": str(uuid4()), "occurred_at": datetime.now(UTC), **given}
    event["occurred_at"] = _moment(event["occurred_at"])
    if "summary" in event:
        event["summary"] = _shortened(_text(event["summary"]), SUMMARY_LENGTH)
    if "file" in event:
        event["file"] = _file(event["file"])
    if "extra" in event:
        event["extra"] = fitting_extra(event["extra"])
    texts = {name: _text(value) for name, value in event.items() if name not in {"file", "extra"}}
    # A blank supplier is none; without stage or reason the server says what is wrong.
    kept = {name: text for name, text in texts.items() if text or name in {"stage", "reason"}}
    return {name: event[name] for name in ("file", "extra") if name in event} | kept


def error_summary(error: BaseException) -> str:
    """The error in one line, as tracebacks end with it."""
    return "".join(traceback.format_exception_only(error)).strip() or type(error).__name__


def with_trace(extra: Mapping[str, Any], error: BaseException) -> Json:
    """`extra`, and the traceback of `error`, whose beginning is left out where it would be too long."""
    trace = "".join(traceback.format_exception(error))
    room = EXTRA_BYTES - _size({**_plain_object(extra), "traceback": ""})
    return {**extra, "traceback": _end_within(_text(trace), room)}


def reason_of(error: type[BaseException]) -> str:
    """The class as a code: `ConnectionRefusedError` is `connection_refused_error`."""
    name = error.__name__
    starts = [
        index
        for index in range(1, len(name))
        if name[index].isupper()
        and (not name[index - 1].isupper() or name[index + 1 : index + 2].islower())
        and name[index - 1] != "_"
    ]
    pieces = [name[start:end] for start, end in zip([0, *starts], [*starts, len(name)], strict=True)]
    return "_".join(pieces).lower().strip("_")


def fitting_extra(extra: Any) -> Json:
    """`extra` as a JSON object of at most 16 KiB; what is longer becomes the beginning of its text, as `cut`."""
    document = _plain_object(extra)
    if _size(document) <= EXTRA_BYTES:
        return document
    text = json.dumps(document, ensure_ascii=False)
    room = EXTRA_BYTES - _size({"cut": ""})
    return {"cut": _beginning_within(text, room)}


def _plain_object(extra: Any) -> Json:
    plain = _plain(extra)
    return plain if isinstance(plain, dict) else {"value": plain}


def _plain(value: Any) -> Any:
    """A copy of `value` that is nothing but JSON. NaN becomes a text, as does what has no JSON form."""
    try:
        return _clean(json.loads(json.dumps(value, default=str), parse_constant=str), EXTRA_DEPTH)
    except Exception:  # noqa: BLE001 - __str__ of anything may raise anything; the event must go out all the same
        return _text(_representation(value))


def _representation(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"


def _clean(value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [_clean(each, depth - 1) for each in value]
    if isinstance(value, dict):
        return {_text(name): _clean(each, depth - 1) for name, each in value.items()}
    return value


def _text(value: object) -> str:
    """What PostgreSQL can store of it: no NUL, no half of a surrogate pair."""
    text = value if isinstance(value, str) else str(_plain(value))
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def _moment(value: Any) -> str:
    if isinstance(value, datetime) and value.tzinfo is None:
        with suppress(OverflowError, OSError, ValueError):  # years that no clock shows
            value = value.astimezone()
    return value.isoformat() if isinstance(value, datetime) else _text(value)


def _file(value: Any) -> Json:
    members = dict(value) if isinstance(value, Mapping) else {"path": value}
    path = members.pop("path", "")
    if isinstance(path, PurePath | str | bytes):
        with suppress(UnicodeError):  # it is text already, though none that a file could be named
            path = os.fsencode(path).decode("utf-8", "replace")
    others = {name: each for name, each in _plain_object(members).items() if each is not None}
    # The end of a path tells more than its beginning.
    return {**others, "path": _text(path)[-PATH_LENGTH:]}


def _size(document: Json) -> int:
    """Bytes, as the server counts them."""
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(CUT)] + CUT


def _beginning_within(text: str, room: int) -> str:
    return _end_within(text[::-1], room)[::-1]


def _end_within(text: str, room: int) -> str:
    """The end of `text` that takes at most `room` bytes in JSON, which escapes some characters."""
    if _cost(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if _cost(CUT + text[len(text) - middle :]) <= room:
            low = middle
        else:
            high = middle - 1
    return CUT + text[len(text) - low :] if low else ""


def _cost(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - len('""')
