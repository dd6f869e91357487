"""Investigations as the API takes and shows them, made from rows. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.notifier.investigations.deciding import Action, Decision, What
from services.notifier.investigations.grouping import LATE, Origin, Severity
from services.notifier.investigations.states import State
from services.notifier.texts import Paragraph
from shared.contracts.problems import Problem
from shared.platform.paging import TotalCount, without_nul
from shared.platform.parameters import RequestedMoment

LATEST_EVENTS = 20
LATEST_HISTORY = 50
TREND_DAYS = 30
MOST_AT_ONCE = 200  # acted on by one request
MOST_SPLIT = 1000  # fingerprints
BIGINT_MAX = 2**63 - 1
INT_MAX = 2**31 - 1


def _said(note: str | None) -> str | None:
    return (note or "").strip() or None


Note = Annotated[
    Paragraph | None, AfterValidator(_said), Field(description="For people; the history keeps it.")
]


class ActionNote(BaseModel):
    """What to say of an action."""

    model_config = ConfigDict(extra="forbid")

    note: Note = None


class NewNote(BaseModel):
    """What to say of an investigation."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
        AfterValidator(without_nul),
    ]


class NewMute(ActionNote):
    """For how long nothing is to be told: what comes first ends it. With neither `until` nor `events` it is for good."""

    until: RequestedMoment | None = Field(
        None, description="Until this moment; a date is its midnight in UTC."
    )
    events: Annotated[int, Field(ge=1, le=INT_MAX)] | None = Field(
        None, description="Until so many more errors have occurred."
    )


class NewMerge(ActionNote):
    """Where an investigation belongs."""

    into: UUID = Field(description="The investigation that it becomes part of.")


class NewSplit(ActionNote):
    """What does not belong to an investigation."""

    fingerprints: Annotated[
        list[Annotated[int, Field(ge=1, le=BIGINT_MAX)]], Field(min_length=1, max_length=MOST_SPLIT)
    ] = Field(
        description="The `id` of each, as the investigation shows them in `fingerprints`; not all of them."
    )


class BulkAction(NewMute):
    """The same action for many investigations. `until` and `events` are of `mute` alone; `note` needs a note."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_AT_ONCE)]
    action: Action

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.action != "mute" and (self.until is not None or self.events is not None):
            raise ValueError("`until` and `events` are of the action `mute` alone")
        if self.action == "note" and self.note is None:
            raise ValueError("the action `note` needs a `note`")
        return self

    @property
    def decision(self) -> Decision:
        return Decision(self.action, self.note, self.until, self.events)


class Links(BaseModel):
    """Where to go on: paths on this host."""

    self_: str = Field(serialization_alias="self")
    events: str
    history: str
    merged_into: str | None = Field(description="The investigation that it is part of.")
    import_: str | None = Field(
        serialization_alias="import", description="The import that reported its latest error."
    )
    row_errors: str | None = Field(description="The row errors of that import.")


class Muted(BaseModel):
    """Nothing is told of it. `until` and `events`: what comes first ends it; with neither it is for good."""

    muted_at: datetime
    until: datetime | None
    events: int | None = Field(description="Until so many errors have occurred since then.")
    events_so_far: int


class Investigation(BaseModel):
    """Errors that belong together: one supplier, stage, reason and kind of detail, and what was merged with that."""

    id: UUID
    state: State = Field(
        description="`open`: there are errors. `acknowledged`: somebody takes care of them. `muted`: nobody wants to hear of"
        " them. `resolved`: they are over. `reopened`: after that, there are errors again. When an error occurred counts, not"
        " when it was heard of."
    )
    supplier: str | None = Field(
        description="Of its first error, as are the stage, the reason and the summary."
    )
    stage: str
    reason: str
    severity: Severity = Field(description="The highest of its errors.")
    summary: str
    count: int = Field(ge=0, description="Errors in it.")
    first_seen: datetime | None = Field(
        description="When the first error occurred; null: none has, or it is part of another investigation."
    )
    last_seen: datetime | None = Field(description="When the last one did.")
    opened_at: datetime
    acknowledged_at: datetime | None = Field(description="While it is `acknowledged`: since when.")
    resolved_at: datetime | None = Field(
        description="While it is `resolved`: since when. It comes after all errors that had occurred by then."
    )
    resolved_by: Literal["person", "event"] | None = Field(
        description="While it is `resolved`: who said so, a person or an event of a pipeline; the history tells who."
    )
    muted: Muted | None = Field(
        description="The mute, if there is one. One that is `resolved` may have it: it holds for the next error."
    )
    merged_into: UUID | None = Field(description="The investigation that it is part of; act on that one.")
    links: Links


class InvestigationPage(BaseModel):
    items: list[Investigation]
    next_cursor: str | None
    total: TotalCount = None


class ImportLinks(BaseModel):
    import_: str = Field(serialization_alias="import")
    row_errors: str


class InvestigationEvent(BaseModel):
    """One error as it was reported, or that errors are over."""

    event_id: str
    action: Literal["trigger", "resolve"] = Field(
        description="`trigger`: an error. `resolve`: those are over that occurred before it."
    )
    origin: Origin = Field(description="Who reported it.")
    occurred_at: datetime
    received_at: datetime
    late: bool = Field(description="It was received more than 5 minutes after it had occurred.")
    fingerprint_id: int
    supplier: str | None
    stage: str
    reason: str
    severity: Severity
    summary: str | None
    file: dict[str, Any] | None
    extra: dict[str, Any] | None
    links: ImportLinks | None = Field(description="The import that reported it, if one did.")


class InvestigationEventPage(BaseModel):
    items: list[InvestigationEvent]
    next_cursor: str | None


class HistoryEntry(BaseModel):
    """Something that happened to an investigation."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    what: What
    happened_at: datetime = Field(description="By the time of events, where an event did it.")
    recorded_at: datetime
    actor: str | None = Field(
        description="Who did it, by the subject of their token; null: an event, or time."
    )
    event_id: str | None = Field(description="The event that did it.")
    note: str | None
    details: dict[str, Any] | None = Field(
        description="Of `muted`: `until`, `events`. Of `merged` and `split`: the other investigation as `into` or `from`, the"
        " `fingerprints` that moved, and how many `events` they have."
    )


class HistoryPage(BaseModel):
    items: list[HistoryEntry]
    next_cursor: str | None


class DayCount(BaseModel):
    day: date
    events: int


class InvestigationFingerprint(BaseModel):
    """One kind of error: what is the same in supplier, stage, reason and detail."""

    id: int = Field(description="To split it off by.")
    supplier: str | None
    stage: str
    reason: str
    detail: str = Field(
        description="What its errors have in common: without numbers, ids, paths and file names."
    )
    given: str | None = Field(description="Or the fingerprint that the reporter named.")
    summary: str | None
    count: int
    first_seen: datetime | None
    last_seen: datetime | None
    last_resolved: datetime | None = Field(description="When an event last said that it is over.")


class InvestigationDetail(Investigation):
    fingerprints: list[InvestigationFingerprint] = Field(
        description="The kinds of errors that it is made of, the most frequent ones first; 1,000 at most."
    )
    events: list[InvestigationEvent] = Field(description=f"The latest {LATEST_EVENTS}, the newest first.")
    days: list[DayCount] = Field(
        description=f"How many errors occurred on each of the last {TREND_DAYS} days, today the last one."
    )
    history: list[HistoryEntry] = Field(description=f"The latest {LATEST_HISTORY}, the newest first.")


class BulkOutcome(BaseModel):
    """What became of one of them: the investigation, or the problem there was."""

    id: UUID
    status: int = Field(description="200, or the status of the problem.")
    investigation: Investigation | None = None
    code: str | None = Field(None, description="Of the problem, as are `detail` and `hint`.")
    detail: str | None = None
    hint: str | None = None


class BulkOutcomes(BaseModel):
    items: list[BulkOutcome] = Field(description="In the order of `ids`, each once.")
    done: int
    refused: int


def investigation_of(row: Any, latest_import: UUID | None) -> Investigation:
    """A row of `notifier.investigations`, and the import that reported its latest error."""
    return Investigation(**_shown(row, latest_import))


def detail_of(
    row: Any,
    latest_import: UUID | None,
    *,
    fingerprints: Sequence[Any],
    events: Sequence[Any],
    days: list[DayCount],
    history: Sequence[Any],
) -> InvestigationDetail:
    """The same with rows of what it is made of."""
    return InvestigationDetail(
        **_shown(row, latest_import),
        fingerprints=[_fingerprint_of(one) for one in fingerprints],
        events=[event_of_row(one) for one in events],
        days=days,
        history=[HistoryEntry.model_validate(one) for one in history],
    )


def _shown(row: Any, latest_import: UUID | None) -> dict[str, Any]:
    by_person = row.resolved_at is not None and row.resolved_at >= (row.event_resolved_at or row.resolved_at)
    moments = [moment for moment in (row.resolved_at, row.event_resolved_at) if moment is not None]
    is_resolved = row.state == "resolved" and bool(moments)
    return {
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
        "count": row.event_count,
        "acknowledged_at": row.acknowledged_at if row.state == "acknowledged" else None,
        "resolved_at": max(moments) if is_resolved else None,
        "resolved_by": ("person" if by_person else "event") if is_resolved else None,
        "muted": _muted_of(row),
        "links": _links_of(row, latest_import),
    }


_AS_THEY_ARE = (
    *("id", "state", "supplier", "stage", "reason", "severity", "summary"),
    *("first_seen", "last_seen", "opened_at", "merged_into"),
)


def _muted_of(row: Any) -> Muted | None:
    if row.muted_at is None or row.merged_into is not None:
        return None
    return Muted(
        muted_at=row.muted_at,
        until=row.muted_until,
        events=row.muted_events,
        events_so_far=row.events_since_muted,
    )


def _links_of(row: Any, latest_import: UUID | None) -> Links:
    here = f"/api/v1/investigations/{row.id}"
    of_import = latest_import and _import_path(latest_import)
    return Links(
        self_=here,
        events=f"{here}/events",
        history=f"{here}/history",
        merged_into=row.merged_into and f"/api/v1/investigations/{row.merged_into}",
        import_=of_import,
        row_errors=of_import and f"{of_import}/errors",
    )


def _import_path(import_id: UUID) -> str:
    return f"/api/v1/imports/{import_id}"


def event_of_row(row: Any) -> InvestigationEvent:
    """A row of `notifier.investigation_events`, with its kind."""
    names = InvestigationEvent.model_fields.keys() - {"action", "late", "links"}
    path = row.import_id and _import_path(row.import_id)
    return InvestigationEvent(
        **{name: getattr(row, name) for name in names},
        action="resolve" if row.resolves else "trigger",
        late=row.received_at - row.occurred_at > LATE,
        links=ImportLinks(import_=path, row_errors=f"{path}/errors") if path else None,
    )


def _fingerprint_of(row: Any) -> InvestigationFingerprint:
    names = InvestigationFingerprint.model_fields.keys() - {"count", "last_seen"}
    return InvestigationFingerprint(
        **{name: getattr(row, name) for name in names}, count=row.event_count, last_seen=row.last_triggered
    )


def filled_days(counts: Mapping[date, int], today: date, days: int = TREND_DAYS) -> list[DayCount]:
    """Each of the last days, today the last one, with its count."""
    each = [today - timedelta(days=back) for back in reversed(range(days))]
    return [DayCount(day=day, events=counts.get(day, 0)) for day in each]


def outcome_of(investigation_id: UUID, problem: Problem | None, shown: Investigation | None) -> BulkOutcome:
    """What became of one of many."""
    if problem is None:
        return BulkOutcome(id=investigation_id, status=200, investigation=shown)
    return BulkOutcome(
        id=investigation_id,
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        hint=problem.hint,
    )
