"""Dates and moments as files have them, read in the one way they can mean, or not at all.

03/04/2024 is two dates. Which one is said with the import, or proven by another value of its column (31/12/2024 can only
be day first); without either it is a row error. Years have four digits: 03/04/24 is not even two dates, but six.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from services.processor.checking.bounds import Bounds
from services.processor.checking.faults import CheckCode, Fault, Result, shown
from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.options import DateOrder
from shared.reading.batch import RecordBatch

MAX_LENGTH = 64  # characters; the longest right moment has some 40

_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep sept september", "oct october", "nov november", "dec december"), start=1,
    )
    for name in names.split()
}  # fmt: skip
_TIME = (
    r"(?:(?:T|t|,? +)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
# ISO 8601, extended, and with the blank for the T of RFC 3339, section 5.6.
_PLAIN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}")
_ISO = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})" + _TIME)
_YEAR_FIRST = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})" + _TIME
)
_COMPACT = re.compile(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})" + _TIME)
_YEAR_LAST = re.compile(
    r"(?P<one>[0-9]{1,2})(?P<mark>[-/.])(?P<two>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4})" + _TIME
)
_DAY_NAME = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?[ -]?(?P<name>[A-Za-z]{3,9})\.?,?[ -]?(?P<year>[0-9]{4})"
_NAME_DAY = r"(?P<name>[A-Za-z]{3,9})\.? (?P<day>[0-9]{1,2})(?:st|nd|rd|th)?,? (?P<year>[0-9]{4})"
_NAMED = (re.compile(_DAY_NAME + _TIME), re.compile(_NAME_DAY + _TIME))
_CODES: dict[str, CheckCode] = {"date": "not_a_date", "datetime": "not_a_datetime"}
_KINDS = {"date": ("a date", "2024-12-31"), "datetime": ("a date and time", "2024-12-31 23:59:00")}


@dataclass(frozen=True, slots=True)
class Moment:
    """What a value says: a day, and the time and offset where it says them."""

    day: date
    clock: time | None = None
    zone: tzinfo | None = None


class _Unread(ValueError):
    """The value cannot be read.

    Attributes:
        code: Of the fault; None: the one of the field's type.
        reason: Ends a sentence that begins with the value.
    """

    def __init__(self, reason: str, hint: str, code: CheckCode | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.code = code


class Dates:
    """Reads the values of a date or datetime field.

    Args:
        order: How dates such as 03/04/2024 are read; None: not at all.

    Attributes:
        guessed: Values that have another reading than the one they were given, and the note that counts them:
            `date_ambiguous` where `order` decided, `time_ambiguous` where a clock change made a time twice, of which
            the first was taken.
    """

    def __init__(self, field: DatasetField, now: datetime, order: DateOrder | None) -> None:
        self.guessed: dict[str, str] = {}
        self._field = field
        self._order = order
        self._zone: tzinfo = UTC if field.timezone == "UTC" else ZoneInfo(field.timezone)
        self._bounds = Bounds(field, now)
        self._takes_plain = field.type == "datetime" and "%" not in field.format and self._zone is UTC

    def read(self, value: str) -> Result:
        """`value` as PostgreSQL takes it: a day, or a moment in UTC."""
        try:
            if self._takes_plain and _PLAIN.fullmatch(value):  # most moments, and five times as fast
                stored = f"{value}+00:00"
                return self._bounds.faults_of(datetime.fromisoformat(stored), value) or stored
        except ValueError:
            pass  # the other way says why
        try:
            moment = self._moment(value)
            said = self._day(moment) if self._field.type == "date" else self._instant(moment, value)
        except _Unread as unread:
            return (self._fault(value, unread),)
        return self._bounds.faults_of(said, value) or str(said)

    def _moment(self, value: str) -> Moment:
        if len(value) > MAX_LENGTH:
            raise self._unread()
        if "%" in self._field.format:
            return self._by_pattern(value)
        if found := _ISO.fullmatch(value):
            return _read(found, int(found["month"]), int(found["day"]))
        if self._field.format == "any":
            if found := _YEAR_FIRST.fullmatch(value) or _COMPACT.fullmatch(value):
                return _read(found, int(found["month"]), int(found["day"]))
            if found := _YEAR_LAST.fullmatch(value):
                return self._in_order(found, value)
            for pattern in _NAMED:
                if (found := pattern.fullmatch(value)) and found["name"].lower() in _MONTHS:
                    return _read(found, _MONTHS[found["name"].lower()], int(found["day"]))
        raise self._unread()

    def _by_pattern(self, value: str) -> Moment:
        try:
            found = datetime.strptime(value, self._field.format)  # noqa: DTZ007 - the field's zone is added to it
        except ValueError:
            raise self._unread() from None
        return Moment(found.date(), found.time(), found.tzinfo)

    def _in_order(self, found: re.Match[str], value: str) -> Moment:
        one, two = int(found["one"]), int(found["two"])
        only = _order_of(one, two)
        order = only or self._order
        if one != two and 1 <= one <= 12 and 1 <= two <= 12:
            if order is None:
                raise _Unread(
                    "may be two dates, day or month first",
                    "write it like 2024-12-31, or say the date order with the import",
                    "date_ambiguous",
                )
            self.guessed[value] = "date_ambiguous"
        if only and self._order and only != self._order:
            raise _Unread(
                f"is {only}, while the dates of this column are {self._order}",
                "write all dates of the column in one order",
                "date_order_mixed",
            )
        return _read(found, one, two) if order == "month-first" else _read(found, two, one)

    def _day(self, moment: Moment) -> date:
        if moment.clock is not None and moment.clock != time.min:
            raise _Unread("has a time, a date is wanted", "leave out the time")
        return moment.day

    def _instant(self, moment: Moment, value: str) -> datetime:
        local = datetime.combine(moment.day, moment.clock or time.min, moment.zone or self._zone)
        try:
            instant = local.astimezone(UTC)
        except OverflowError:
            raise self._unread() from None
        if moment.zone is None and self._zone is not UTC:
            if instant.astimezone(self._zone).replace(tzinfo=None) != local.replace(tzinfo=None):
                raise _Unread(
                    f"is a time that a clock change in {self._field.timezone} left out", "add its offset"
                )
            if local.utcoffset() != local.replace(fold=1).utcoffset():
                self.guessed[value] = "time_ambiguous"
        return instant

    def _unread(self) -> _Unread:
        kind, example = _KINDS[self._field.type]
        return _Unread(f"is not {kind}", f"write it like {self._field.example or example}")

    def _fault(self, value: str, unread: _Unread) -> Fault:
        message = f"{self._field.title} {shown(value)} {unread.reason}"
        code = unread.code or _CODES[self._field.type]
        return Fault(code, message, self._field.name, value, f"type {self._field.type}", unread.hint)


def date_orders_of(
    dataset: Dataset,
    columns: Mapping[str, int],
    width: int,
    batches: Iterable[RecordBatch],
    given: DateOrder | None,
) -> dict[str, DateOrder]:
    """In which order the dates of each column are written.

    Args:
        columns: Position of each dataset column in a record, from 0.
        width: How many columns the header has; records with more or fewer cells prove nothing.
        batches: Records to take evidence from; not looked at where none is needed.
        given: What the import says, for all columns; evidence is not asked then.

    Returns:
        By column. Without it are columns whose values prove nothing, or both orders.
    """
    mixed = [
        field
        for field in dataset.file_fields
        if field.name in columns and field.type in {"date", "datetime"} and field.format == "any"
    ]
    if given is not None or not mixed:
        return {field.name: given for field in mixed if given is not None}
    proven: dict[str, set[DateOrder]] = {field.name: set() for field in mixed}
    for batch in batches:
        for name, orders in proven.items():
            orders.update(_proven(batch, columns[name], width))
    return {name: orders.pop() for name, orders in proven.items() if len(orders) == 1}


def _proven(batch: RecordBatch, position: int, width: int) -> set[DateOrder]:
    values = {row[position] for row in batch.fields if len(row) == width}
    found = (_YEAR_LAST.fullmatch(value.strip()) for value in values if len(value) <= MAX_LENGTH)
    orders = {_order_of(int(match["one"]), int(match["two"])) for match in found if match}
    return {order for order in orders if order is not None}


def _order_of(one: int, two: int) -> DateOrder | None:
    """The order that the first two numbers of a date can only have."""
    if one <= 12 < two <= 31:
        return "month-first"
    return "day-first" if two <= 12 < one <= 31 else None


def _read(found: re.Match[str], month: int, day: int) -> Moment:
    """The moment that a pattern found.

    Raises:
        _Unread: there is no such day or time.
    """
    try:
        whole = date(int(found["year"]), month, day)
        return Moment(whole, _clock(found), _zone(found["zone"]))
    except ValueError:
        raise _Unread("does not exist", "check day, month, year and time") from None


def _clock(found: re.Match[str]) -> time | None:
    if found["hour"] is None:
        return None
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if found["half"] in "Pp" else 0)
    fraction = (found["fraction"] or "").ljust(9, "0")
    if fraction[6:] != "000":
        raise ValueError
    return time(hour, int(found["minute"]), int(found["second"] or 0), int(fraction[:6]))


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name[0] not in "+-":
        return UTC
    digits = name[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if name[0] == "-" else offset)
