"""Overviews of investigations as the API shows them. Pure."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel, Field

from services.notifier.investigations.grouping import Severity
from services.notifier.investigations.states import State
from shared.contracts.problems import Unprocessable

MOST_TREND_DAYS = 400
_SECOND_DAY = date.min + timedelta(days=1)


class Days(NamedTuple):
    """Some days, both included."""

    since: date
    until: date


def days_between(since: date | None, until: date | None, today: date) -> Days:
    """The days that a request means: yesterday and today, if it does not say.

    Raises:
        Unprocessable: `filter_invalid`, where `since` is after `until`.
    """
    last = until or max(today, since or today)
    days = Days(since or max(last, _SECOND_DAY) - timedelta(days=1), last)
    if days.since > days.until:
        raise Unprocessable(
            "filter_invalid",
            f"since: {days.since} is after `until`, {days.until}, so there is nothing between",
            hint="give a later `until`, or leave it out",
            parameter="since",
        )
    return days


class SupplierCount(BaseModel):
    supplier: str | None = Field(description="null: errors of no supplier's.")
    investigations: int


class Counts(BaseModel):
    """The queue in figures. Those that were merged into others are not counted."""

    states: dict[State, int] = Field(description="Investigations in each state.")
    severities: dict[Severity, int] = Field(
        description="Of those that are neither resolved nor muted: how many of each severity."
    )
    suppliers: list[SupplierCount] = Field(
        description="Of the same: of which suppliers, the 20 that have the most."
    )
    quarantined_events: int = Field(
        description="Events that wait for their supplier to be added; they are in no investigation yet."
    )


class TrendDay(BaseModel):
    day: date
    events: int = Field(description="Errors that occurred.")
    opened: int = Field(description="Investigations that were opened.")
    reopened: int
    resolved: int = Field(description="By people and by events.")


class Trend(BaseModel):
    items: list[TrendDay] = Field(description="Each day, today the last one.")


class TopReason(BaseModel):
    reason: str
    title: str | None = Field(description="What it is called, if anybody has said so.")
    events: int = Field(description="Errors that occurred on these days.")
    suppliers: int = Field(description="Of how many suppliers.")
    investigations: int = Field(description="In how many investigations they are.")
    last_seen: datetime = Field(description="When the last of them occurred.")


class _OfDays(BaseModel):
    since: date = Field(description="The first day.")
    until: date = Field(description="The last day.")


class TopReasonPage(_OfDays):
    items: list[TopReason]
    next_cursor: str | None


class BySupplier(BaseModel):
    supplier: str | None = Field(description="null: errors of no supplier's.")
    name: str | None = Field(description="Of the supplier.")
    events: int = Field(description="Errors that occurred on these days.")
    reasons: int = Field(description="Of how many reasons.")
    investigations: int = Field(description="In how many investigations they are.")
    pending: int = Field(description="How many of these are neither resolved nor muted now.")
    last_seen: datetime = Field(description="When the last of them occurred.")


class BySupplierPage(_OfDays):
    items: list[BySupplier]
    next_cursor: str | None
