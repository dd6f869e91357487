"""The `minimum` and `maximum` of a declaration, as values to compare with."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from services.processor.checking.faults import CheckCode, Fault, Faults
from shared.contracts.datasets import DatasetField

Side = Literal["minimum", "maximum"]
Ordered = int | Decimal | date  # a datetime is a date

_WORDS = {
    "date": ("before", "after"),
    "datetime": ("before", "after"),
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of what is allowed, itself included, and how people read it."""

    value: Any
    text: str


class Bounds:
    """Between what the values of a field lie. They are int, Decimal, date, or datetime in UTC, by the field's type.

    Args:
        now: When the import runs; it has an offset. `today` and `next-year` are seen from there.
    """

    def __init__(self, field: DatasetField, now: datetime) -> None:
        self._field = field
        self._minimum = _bound(field, "minimum", now)
        self._maximum = _bound(field, "maximum", now)
        self._below, self._above = _WORDS.get(field.type, ("below", "above"))

    def faults_of(self, value: Ordered, came: str) -> Faults:
        """What is wrong with `value`, which came as `came`."""
        least, most = self._minimum, self._maximum
        if least is not None and value < least.value:
            return (self._fault("below_minimum", came, self._below, f"minimum {least.text}", least),)
        if most is not None and value > most.value:
            return (self._fault("above_maximum", came, self._above, f"maximum {most.text}", most),)
        return ()

    def _fault(self, code: CheckCode, came: str, word: str, rule: str, bound: Bound) -> Fault:
        message = f"{self._field.title} {came} is {word} {bound.text}"
        return Fault(code, message, self._field.name, came, rule, "correct the value")


def _bound(field: DatasetField, side: Side, now: datetime) -> Bound | None:
    declared = getattr(field.constraints, side)
    if declared is None:
        return None
    zone = ZoneInfo(field.timezone)
    today = now.astimezone(zone).date()
    if field.type in {"integer", "year"}:
        number = today.year + 1 if declared == "next-year" else int(declared)
        return Bound(number, str(number))
    if field.type == "number":
        return Bound(Decimal(declared), str(declared))
    day = _day(declared, side, today)
    if field.type == "date":
        return Bound(day, str(day))
    return Bound(_moment(declared, day, side, zone), str(declared if day is None else day))


def _day(declared: int | str, side: Side, today: date) -> date | None:
    """The day that is declared; None if it is a moment."""
    if declared == "today":
        return today
    if declared == "next-year":
        return date(today.year + 1, *((1, 1) if side == "minimum" else (12, 31)))
    text = str(declared)
    return date.fromisoformat(text) if len(text) == len("2000-01-01") else None


def _moment(declared: int | str, day: date | None, side: Side, zone: ZoneInfo) -> datetime:
    if day is not None:
        moment = datetime.combine(day, time.min if side == "minimum" else time.max)
    else:
        moment = datetime.fromisoformat(str(declared))
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
