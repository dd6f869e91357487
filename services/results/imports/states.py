"""Where an import stands, as Server-Sent Events tell it. Pure: the present time is an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.results.imports.resources import ENDED, Status, import_of
from services.results.tables import AnyRow

_RANK: dict[Status, int] = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # nothing is older
_NEVER = datetime.min.replace(tzinfo=UTC)

Progress = tuple[int, int, int]  # run, rank of the status, records processed: it only grows
Standing = tuple[Progress, datetime]  # the second: when it was written, for what changes without progress


@dataclass(frozen=True, slots=True)
class State:
    """What is sent of an import, encoded once for all who listen.

    Attributes:
        event_id: Of the event in the import's own stream.
        moment: When the read model changed to it; the event's id in the stream of all imports.
        fields: The event's other fields, and its end.
    """

    row: AnyRow
    standing: Standing
    event_id: str
    moment: str
    fields: bytes

    @property
    def progress(self) -> Progress:
        return self.standing[0]

    @property
    def is_running(self) -> bool:
        return bool(self.row.status == "processing")

    @property
    def has_ended(self) -> bool:
        return self.row.status in ENDED

    def frame(self, event_id: str) -> bytes:
        """The event under `event_id` (WHATWG HTML, section 9.2.6)."""
        return b"id: %b\n%b" % (event_id.encode(), self.fields)


def standing_of(row: AnyRow) -> Standing:
    """What tells a later state of the import in `row` from an earlier one."""
    return (row.run, _RANK[row.status], row.rows_processed), row.changed_at or _NEVER


def state_of(row: AnyRow, now: datetime) -> State:
    """The state that `row` of the read model tells."""
    data = import_of(row, now).model_dump_json(by_alias=True)  # one line, as an SSE field must be
    standing = standing_of(row)
    return State(
        row,
        standing,
        event_id=f"{row.run}-{row.status}-{row.rows_processed}",
        moment=written(standing[1]),
        fields=f"event: import\ndata: {data}\n\n".encode(),
    )


def written(moment: datetime) -> str:
    """A moment as the id of an event."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment_in(event_id: str | None) -> datetime | None:
    """The moment that the id of an event stands for; None if there is none, or it is none of ours."""
    try:
        moment = datetime.fromisoformat(event_id or "")
        return max(moment.astimezone(UTC), _FIRST) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
