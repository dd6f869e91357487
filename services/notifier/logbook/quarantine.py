"""Events as they wait until their supplier is known. Pure."""

import json
from datetime import datetime

from services.notifier.investigations.grouping import Reported

_MEMBERS = ("stage", "reason", "severity", "summary", "detail", "origin", "action", "given", "file", "extra")


def packed(event: Reported) -> str:
    """The rest of an event, as JSON."""
    values = {name: getattr(event, name) for name in _MEMBERS}
    return json.dumps({name: value for name, value in values.items() if value is not None})


def unpacked(
    reported: str,
    *,
    event_id: str,
    supplier: str,
    received_at: datetime,
    occurred_at: datetime,
    digest: bytes,
) -> Reported:
    """The event that was packed."""
    members = dict.fromkeys(_MEMBERS) | json.loads(reported)
    return Reported(
        event_id=event_id,
        supplier=supplier,
        received_at=received_at,
        occurred_at=occurred_at,
        digest=digest,
        **members,
    )
