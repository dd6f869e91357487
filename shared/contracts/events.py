"""What travels on the bus: CloudEvents 1.0 envelopes around typed data.

An event is a fact (`import.completed`), a command a request (`slice.process`). Both carry ids and counts,
never rows. Every type here has a golden example in `examples/` and a queue in `topology.py`.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.contracts.dialect import Dialect, DialectExplanation
from shared.contracts.options import ImportOptions
from shared.contracts.topology import CANARY_TYPE


class EventInvalid(ValueError):
    """The bytes are no envelope at all. Never retried: the message is dead-lettered as it came."""


class EventUnknown(ValueError):
    """An envelope whose type or data this version does not know: a newer producer's. Retried, then dead-lettered."""


class EventData(BaseModel):
    """The `data` of one event type. Unknown members are ignored, so that a newer producer may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: ClassVar[str]


class Counts(EventData):
    """The balance of an import: processed = inserted + updated + unchanged + duplicate + rejected, in records."""

    rows_processed: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0


COUNTS = tuple(Counts.model_fields)


class ImportUploaded(EventData):
    """A file was accepted and stored.

    Attributes:
        columns: Position of each dataset column in a record, from 0.
        column_count: The header's width, in columns.
        header: The column names as they came; empty where the file names none.
        lines_detected: Physical lines of the file: no import has more records.
        object_key: Where the file is in the store. A compressed file is stored unpacked, its size and hash are the
            unpacked ones.
        corrects: The import, of the same tenant and dataset, whose row errors this one is to mend.
    """

    type = "import.uploaded"
    import_id: UUID
    dataset: str
    source: str | None
    file_name: str
    file_size: int
    sha256: str
    object_key: str
    dialect: Dialect
    explanation: DialectExplanation | None = None
    columns: dict[str, int]
    column_count: int
    header: tuple[str, ...] = ()
    rows_detected: int
    lines_detected: int | None = None
    options: ImportOptions = ImportOptions()
    corrects: UUID | None = None
    uploaded_at: datetime


class UploadFinish(EventData):
    """Command: check the file of a resumable upload that has all its bytes, and make an import of it, of the same id."""

    type = "upload.finish"
    upload_id: UUID


class SliceProcess(EventData):
    """Command: do slice number `slice` (from 0) of an import. Any other number than the next one due is stale."""

    type = "slice.process"
    import_id: UUID
    slice: int


class ImportCancel(EventData):
    """Command: end an import within one slice. What was committed before stays; one that has ended stays as it is."""

    type = "import.cancel"
    import_id: UUID


class ImportRetry(EventData):
    """Command: take a failed import up again at its checkpoint, as its next run."""

    type = "import.retry"
    import_id: UUID


FieldValue = str | bool | int | None  # a number that is no integer is its text, so that none of it is lost


class RecordCommand(EventData):
    """Asks for a change of a dataset's records. Who asks waits for the reply, and holds a lock meanwhile (`edit_locks`).

    Attributes:
        edit_id: Of the edit that is to become of it. A command that comes again does nothing more.
        requested_by: The subject of the token that it was asked with.
    """

    edit_id: UUID
    dataset: str
    requested_by: str


class RecordCreate(RecordCommand):
    """Command: make a record of `values`, unless its key is taken."""

    type = "record.create"
    values: dict[str, FieldValue]


class _RecordNamed(RecordCommand):
    """Asks for a change of one record that is there.

    Attributes:
        key: Its `id`.
        if_match: Entity tags, one of which it must have; `*`: any. None: it may have changed meanwhile.
    """

    key: str
    if_match: tuple[str, ...] | None = None


class RecordReplace(_RecordNamed):
    """Command: give the record `values`, and to all other fields what they have by default."""

    type = "record.replace"
    values: dict[str, FieldValue]


class RecordPatch(_RecordNamed):
    """Command: change the fields in `values` (RFC 7396: null gives a field what it has by default)."""

    type = "record.patch"
    values: dict[str, FieldValue]


class RecordDelete(_RecordNamed):
    """Command: delete the record."""

    type = "record.delete"


class RecordsDeleteAll(RecordCommand):
    """Command: delete all of a tenant's records of the dataset."""

    type = "records.delete_all"


class RecordReplied(EventData):
    """The reply to a command is there, in `processor.replies_v1`. Sent live: who waits for it looks by itself, too."""

    type = "record.replied"
    edit_id: UUID


class RecordsChanged(EventData):
    """Records of one dataset were created or updated, in one transaction: by a slice of an import, or by an edit.

    Which ones is in `processor.changes`, of `import_id`, `slice` and `dataset`; or in `processor.edits`, of `edit_id`.
    Where an import also changes another dataset (a sale creates products and lowers their stock), that is an event of
    its own, of the same import and slice.

    Attributes:
        record_id: The `id` of the record that an edit created or updated.
    """

    type = "records.changed"
    dataset: str
    created: int
    updated: int
    import_id: UUID | None = None
    slice: int | None = None
    edit_id: UUID | None = None
    record_id: str | None = None


class RecordsDeleted(EventData):
    """Records were deleted by an edit: `deleted` of them; all that the tenant had in the dataset, if `whole_dataset`.

    The one that was deleted by itself is in `processor.edits`, of `edit_id`.

    Attributes:
        record_id: Its `id`.
    """

    type = "records.deleted"
    dataset: str
    edit_id: UUID
    deleted: int
    whole_dataset: bool = False
    record_id: str | None = None


class ImportResumed(EventData):
    """A failed import goes on: run number `run` (the first is 1) has begun.

    Attributes:
        counts: Those that it begins with, as `import.progressed` tells them. None: from a producer that did not tell.
    """

    type = "import.resumed"
    import_id: UUID
    dataset: str
    run: int
    processing_started_at: datetime
    counts: Counts | None = None


class RunCounts(Counts):
    """The balance of an import in its run number `run`. What a later run tells counts more than what an earlier one told.

    While an `atomic` import or a dry run is under way, processed also counts the records that wait to be loaded.
    """

    run: int = 1


class ImportProgressed(RunCounts):
    """Where a running import stands. Sent live, at most every 500 ms; losing one is harmless."""

    type = "import.progressed"
    import_id: UUID
    dataset: str
    bytes_processed: int
    file_size: int
    rows_detected: int
    processing_started_at: datetime


class ColumnProfile(EventData):
    """What a sample of an import's records has in one column of its dataset.

    Attributes:
        values: Cells of the sample that are not empty.
        empty: Cells that are.
        numbers: Values that are written as numbers.
        negatives: Numbers below zero.
        formatted: Values that look like an identifier: letters, digits and `. _ - / +`, 2 to 64 characters.
        typical: Geometric mean of the numbers above zero, which a few extreme ones hardly move; None: there are none.
        positives: How many numbers `typical` is the mean of.
    """

    type = "any"
    values: int
    empty: int
    numbers: int = 0
    negatives: int = 0
    formatted: int = 0
    typical: float | None = None
    positives: int = 0


class ImportCompleted(RunCounts):
    """Every record of the file was loaded or reported. `rows_rejected` > 0 is no failure.

    With `dry_run` nothing was loaded: the counts say what would have been.

    Attributes:
        profile: Of the dataset's columns that the file has; empty, from a producer that takes no sample.
    """

    type = "import.completed"
    import_id: UUID
    dataset: str
    source: str | None
    file_name: str
    dry_run: bool = False
    processing_started_at: datetime
    processing_completed_at: datetime
    profile: dict[str, ColumnProfile] = {}


FINAL_ERROR_CODES = frozenset(
    {"too_many_rejected", "record_endless"}
)  # failures that another run cannot but repeat


class ImportFailed(RunCounts):
    """The import ended early. What had been committed before stays and is counted here; of a `dry_run` there is nothing."""

    type = "import.failed"
    import_id: UUID
    dataset: str
    source: str | None
    file_name: str
    error_code: str
    error_message: str
    processing_started_at: datetime | None
    processing_completed_at: datetime
    dry_run: bool = False


class ImportCancelled(RunCounts):
    """The import was ended on request. What had been committed before stays and is counted here."""

    type = "import.cancelled"
    import_id: UUID
    dataset: str
    source: str | None
    file_name: str
    processing_started_at: datetime | None
    processing_completed_at: datetime


class InvestigationOpened(EventData):
    """A first error of its kind was logged, by a pipeline or by an import."""

    type = "investigation.opened"
    investigation_id: UUID
    stage: str
    reason: str
    supplier: str | None
    summary: str
    severity: Literal["info", "warning", "error", "critical"] = "error"
    opened_at: datetime


class _InvestigationChanged(EventData):
    """An investigation's state changed.

    Attributes:
        count: Errors in it so far.
        by: Subject of the token of the person who did it; None: an event did, or the end of a mute.
        note: What that person said.
    """

    investigation_id: UUID
    stage: str
    reason: str
    supplier: str | None
    summary: str
    severity: Literal["info", "warning", "error", "critical"]
    count: int
    by: str | None
    note: str | None


class InvestigationReopened(_InvestigationChanged):
    """It counts again: an error occurred after it was resolved, its mute has ended, or somebody reopened it.

    Attributes:
        cause: Which of the three.
        reopened_at: When the error occurred, the mute ended, or it was reopened.
    """

    type = "investigation.reopened"
    cause: Literal["event", "mute_ended", "person"]
    reopened_at: datetime


class InvestigationResolved(_InvestigationChanged):
    """A pipeline reported that all is well again, or somebody resolved it."""

    type = "investigation.resolved"
    resolved_at: datetime


class EndpointFailing(EventData):
    """A webhook endpoint has answered nothing but failures for `percent` of the time after which it is disabled.

    Attributes:
        description: What its owner says of it.
        failures: Failed attempts in a row.
        response_status, error: Of the last of them; either may be None.
    """

    type = "endpoint.failing"
    endpoint_id: UUID
    url: str
    description: str | None
    percent: int
    failures: int
    failing_since: datetime
    disabled_at: datetime
    response_status: int | None
    error: str | None


class EndpointDisabled(EventData):
    """A webhook endpoint is sent nothing more, until somebody enables it.

    Attributes:
        reason: `failing`: nothing but failures for 5 days. `gone`: it answered 410.
    """

    type = "endpoint.disabled"
    endpoint_id: UUID
    url: str
    description: str | None
    reason: Literal["failing", "gone"]
    failures: int
    failing_since: datetime
    disabled_at: datetime
    response_status: int | None
    error: str | None


class CanarySent(EventData):
    """Proof that a queue's consumers work: whoever gets it notes how long it took, and that is all.

    Attributes:
        queue: The only one that it goes to.
    """

    type = CANARY_TYPE
    queue: str


EVENTS: dict[str, type[EventData]] = {
    data.type: data
    for data in (
        ImportUploaded,
        UploadFinish,
        SliceProcess,
        ImportCancel,
        ImportRetry,
        ImportResumed,
        ImportProgressed,
        ImportCompleted,
        ImportFailed,
        ImportCancelled,
        RecordCreate,
        RecordReplace,
        RecordPatch,
        RecordDelete,
        RecordsDeleteAll,
        RecordReplied,
        RecordsChanged,
        RecordsDeleted,
        InvestigationOpened,
        InvestigationReopened,
        InvestigationResolved,
        EndpointFailing,
        EndpointDisabled,
        CanarySent,
    )
}

DataT_co = TypeVar("DataT_co", bound=EventData, covariant=True)


class Event(BaseModel, Generic[DataT_co]):
    """A CloudEvents 1.0 envelope (JSON event format) with the extensions `tenant` and `traceparent`.

    Attributes:
        id: Unique for ever; a consumer that has seen it does nothing again.
        source: `/penstock/<service>`.
        subject: The id of what the event is about (an import, an investigation).
        tenant: Whose data it is.
        traceparent: W3C trace context of the request that started it all.
    """

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: UUID = Field(default_factory=uuid4)
    source: str
    type: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    subject: str
    datacontenttype: Literal["application/json"] = "application/json"
    tenant: str
    traceparent: str | None = None
    data: DataT_co

    @field_validator("time")
    @classmethod
    def _with_offset(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("needs a UTC offset (CloudEvents 1.0, RFC 3339)")
        return value

    def to_bytes(self) -> bytes:
        """The envelope as UTF-8 JSON, absent members left out."""
        return self.model_dump_json(exclude={"traceparent"} if self.traceparent is None else None).encode()


AnyEvent = Event[Any]


class _AnyData(EventData):
    type = "any"


def event_of(
    data: EventData, *, tenant: str, subject: UUID | str, service: str, traceparent: str | None = None
) -> AnyEvent:
    """A new event around `data`, with a fresh id and the present time."""
    return AnyEvent(
        source=f"/penstock/{service}",
        type=data.type,
        subject=str(subject),
        tenant=tenant,
        traceparent=traceparent,
        data=data,
    )


def envelope_from(body: bytes) -> AnyEvent:
    """The envelope in `body`, its data unread: for who only passes it on.

    Raises:
        EventInvalid: not JSON, or no envelope.
    """
    try:
        return Event[_AnyData].model_validate_json(body)
    except ValidationError as error:
        raise EventInvalid(f"not a valid envelope: {error}") from error


@cache  # pydantic makes it anew as soon as nobody holds it
def _envelope_of(data: type[EventData]) -> type[AnyEvent]:
    return Event[data]  # type: ignore[valid-type]


def event_from(body: bytes) -> AnyEvent:
    """The event in `body`.

    Raises:
        EventInvalid: not JSON, or no envelope.
        EventUnknown: an envelope of an unknown type, or with data that do not fit the type.
    """
    envelope = envelope_from(body)
    data = EVENTS.get(envelope.type)
    if data is None:
        raise EventUnknown(f"unknown event type {envelope.type!r}; known: {', '.join(sorted(EVENTS))}")
    try:
        return _envelope_of(data).model_validate_json(body)
    except ValidationError as error:
        raise EventUnknown(f"the data do not fit {envelope.type!r}: {error}") from error
