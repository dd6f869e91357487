"""What webhooks there are, who asked for which, and what one says. Pure."""

import json
from collections.abc import Iterable
from uuid import UUID

from shared.contracts.events import AnyEvent
from shared.contracts.problems import Unprocessable

EVENT_TYPES = (
    *("import.completed", "import.failed", "import.cancelled"),
    *("records.changed", "records.deleted", "investigation.opened"),
)
WILDCARDS = tuple(sorted({f"{name.partition('.')[0]}.*" for name in EVENT_TYPES}))


def checked_event_types(names: Iterable[str]) -> list[str]:
    """`names` without repetitions, in their order.

    Raises:
        Unprocessable: `event_type_unknown`; the document lists those there are.
    """
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in EVENT_TYPES and name not in WILDCARDS]:
        raise Unprocessable(
            "event_type_unknown",
            f"no webhook has the type {', '.join(map(repr, unknown))}",
            hint="use one of `known`",
            known=[*EVENT_TYPES, *WILDCARDS],
        )
    return wanted


def patterns_for(event_type: str) -> list[str]:
    """What an endpoint may have asked for to be sent `event_type`."""
    return [event_type, f"{event_type.partition('.')[0]}.*"]


def message_id(delivery_id: UUID) -> str:
    """The `webhook-id`: stable over retries, so that a receiver can tell a repetition."""
    return f"msg_{delivery_id.hex}"


def body_of(event: AnyEvent) -> bytes:
    """The payload `{type, timestamp, data}` (Standard Webhooks 1.0) as UTF-8 JSON."""
    document = {
        "type": event.type,
        "timestamp": event.time.isoformat().replace("+00:00", "Z"),
        "data": event.data.model_dump(mode="json"),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
