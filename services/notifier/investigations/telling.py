"""What is published of an investigation whose state an event has changed. Pure."""

from typing import Literal

from services.notifier.investigations.folding import Step
from shared.contracts.events import (
    AnyEvent,
    EventData,
    InvestigationOpened,
    InvestigationReopened,
    InvestigationResolved,
    event_of,
)

Happening = Literal["opened", "reopened", "unmuted", "resolved"]


def told(step: Step, tenant: str, traceparent: str | None) -> AnyEvent:
    """The event on the bus."""
    return event_of(
        _data(step), tenant=tenant, subject=step.investigation.id, service="notifier", traceparent=traceparent
    )


def happening(step: Step) -> Happening:
    """What the history says of it."""
    return "unmuted" if step.mute_ended else step.change


def _data(step: Step) -> EventData:
    one = step.investigation
    about = {
        "investigation_id": one.id,
        "stage": one.stage,
        "reason": one.reason,
        "supplier": one.supplier,
        "summary": one.summary,
        "severity": one.severity,
    }
    if step.change == "opened":
        return InvestigationOpened(**about, opened_at=one.opened_at)
    about |= {"count": step.count, "by": None, "note": None}
    if step.change == "resolved":
        return InvestigationResolved(**about, resolved_at=step.at)
    cause = "mute_ended" if step.mute_ended else "event"
    return InvestigationReopened(**about, cause=cause, reopened_at=step.at)
