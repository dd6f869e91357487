"""A batch of events as it comes, each judged for itself, and as it is answered. Pure."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.notifier.investigations.grouping import Reported
from services.notifier.logbook.admitting import Logged
from services.notifier.logbook.reporting import NewInvestigationEvent, reported
from shared.contracts.problems import Problem, TooManyRequests, Unprocessable
from shared.platform.faults import message_of

MOST = 500  # events


class PlainBatch(BaseModel):
    """A batch, nothing in which is wrong."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[NewInvestigationEvent], Field(max_length=MOST)]


_EVENT = TypeAdapter(NewInvestigationEvent)
_EVENTS = TypeAdapter(list[NewInvestigationEvent])
_ONE = {"$ref": f"#/components/schemas/{NewInvestigationEvent.__name__}"}
_LIST = {"type": "array", "items": _ONE, "maxItems": MOST}
SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        _LIST,
        {
            "type": "object",
            "properties": {"events": _LIST},
            "required": ["events"],
            "additionalProperties": False,
        },
    ]
}


def items_of(body: Any) -> Sequence[Any]:
    """The events of a body: a list, or an object with nothing but the list `events`.

    Raises:
        Unprocessable: `request_invalid`.
    """
    items = body["events"] if isinstance(body, dict) and body.keys() == {"events"} else body
    if not isinstance(items, list):
        raise _invalid([("body", 'must be a list of events, or {"events": [...]}')])
    if len(items) > MOST:
        raise _invalid([("body", f"has {len(items)} events; a batch has {MOST} at most")])
    return items


def read(items: Sequence[Any], *, key: str | None, now: datetime) -> Sequence[Reported | Problem]:
    """Each event as it is logged; or what is wrong with it.

    Args:
        key: Event number i has the id `key:i`, from 0, unless it names one.
    """
    events: Sequence[Any] = items
    with suppress(ValidationError):  # one by one, so that each hears of what is wrong with it
        events = _EVENTS.validate_python(items)
    return [_read(event, key=key and f"{key}:{place}", now=now) for place, event in enumerate(events)]


def _read(event: Any, *, key: str | None, now: datetime) -> Reported | Problem:
    """The event is validated, or as it came."""
    try:
        return reported(_EVENT.validate_python(event), key=key, now=now)
    except ValidationError as error:
        return _invalid([(_field(fault["loc"]), message_of(fault)) for fault in error.errors()])
    except Problem as problem:
        return problem


def shown(answers: Sequence[Logged | Problem]) -> dict[str, Any]:
    """The answer to a batch, JSON but for ids and times."""
    items = [_item(place, answer) for place, answer in enumerate(answers)]
    refused = sum(isinstance(answer, Problem) for answer in answers)
    return {"items": items, "accepted": len(items) - refused, "refused": refused}


def members(logged: Logged) -> dict[str, Any]:
    """What is said of an event that was logged."""
    return {
        "event_id": logged.event_id,
        "event_id_derived": logged.event_id_derived,
        "investigation_id": logged.investigation_id,
        "outcome": logged.outcome,
        "first_seen": logged.first_seen,
        "count": logged.count,
        "late": logged.late,
    }


def _item(place: int, answer: Logged | Problem) -> dict[str, Any]:
    if isinstance(answer, Logged):
        return {"index": place, "status": 202, **members(answer)}
    after = {"retry_after": answer.retry_after} if isinstance(answer, TooManyRequests) else {}
    return {"index": place, **answer.document(), **after}


def _invalid(faults: Sequence[tuple[str, str]]) -> Unprocessable:
    detail = "; ".join(f"{where}: {message}" for where, message in faults)
    return Unprocessable(
        "request_invalid",
        detail,
        errors=[{"field": where, "message": message} for where, message in faults],
    )


def _field(loc: Sequence[int | str]) -> str:
    return ".".join(map(str, loc)) or "event"
