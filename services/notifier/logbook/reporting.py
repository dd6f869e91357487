"""What requests report, as it is logged. Pure."""

from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from services.notifier.investigations.catalogue import code_of
from services.notifier.investigations.grouping import Action, Reported, Severity, digest_of
from services.notifier.suppliers.resources import SupplierId
from services.notifier.texts import Line, LongLine, Paragraph, SmallJson
from shared.contracts.problems import Unprocessable

CLOCK_TOLERANCE = timedelta(minutes=5)  # how far ahead of ours a reporter's clock may be
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
SIZE_MAX = 2**63 - 1
ROWS_MAX = 10**12  # the sum of a day, or of half a year, must be a bigint, too
# So begin those of Penstock's own events, which would be refused if their ids were taken.
OWN_IDS = ("penstock:", "analysis:")


class ReportedFile(BaseModel):
    """The file that the event is about, which counts among its supplier's.

    An error means that it failed; a `resolve`, or an event that is no error and has `rows`, that its records came through.
    """

    model_config = ConfigDict(extra="forbid")

    path: LongLine
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(ge=0, le=SIZE_MAX, description="Bytes.")] | None = None
    rows: Annotated[int, Field(ge=0, le=ROWS_MAX)] | None = None


class NewInvestigationEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_id: Line | None = Field(
        None,
        description="Unique within the tenant: the same again counts once. Also as `Idempotency-Key`. Without one it is made"
        " of what is sent, if that says when it occurred; else every event is a new one. It must not begin with `penstock:` or"
        " `analysis:`, as those of Penstock's own events do.",
    )
    occurred_at: AwareDatetime | None = Field(
        None,
        ge=EARLIEST,
        description="With an offset, at most 5 minutes ahead; now, if not given. It counts, and not when the event comes: an"
        " error that occurred before a resolution does not reopen anything.",
    )
    supplier: SupplierId | None = Field(
        None,
        description="Its id. Events of a supplier that is not known wait in quarantine until it is added.",
    )
    stage: Line = Field(description="Where it happened: `load_mail`, `load_ftp`, `consolidate`, `process`, …")
    reason: Line = Field(
        description="What happened, as a code. One that is not known is registered, for review."
    )
    severity: Severity = "error"
    summary: Paragraph | None = Field(
        None, description="For people. Numbers, ids and paths in it do not matter for the grouping."
    )
    file: ReportedFile | None = None
    action: Action = Field(
        "trigger",
        description="`resolve`: all is well again. It ends what occurred before it and has the same supplier, stage, reason"
        " and `fingerprint` or kind of `summary`; with neither, whatever has the same supplier, stage and reason.",
    )
    fingerprint: Line | None = Field(
        None, description="Which events belong together, where you know it better than the summary tells."
    )
    extra: SmallJson | None = Field(None, description="An object with any JSON, 16 KiB at most; it is kept.")


def _as_text(value: Any) -> Any:
    """Numbers may be numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _none_if_blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a string such as 2026-03-01T08:30:00")  # noqa: TRY004 - pydantic wants it so
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise ValueError(
            "must be a date and time as 2026-03-01T08:30:00, with an offset or without"
        ) from error
    if len(value.strip()) <= len("2026-03-01"):
        raise ValueError("has no time of day; write it as 2026-03-01T08:30:00")
    return moment


def _not_too_old(moment: datetime) -> datetime:
    if moment.replace(tzinfo=UTC) < EARLIEST + timedelta(days=1):
        raise ValueError("must be after 1970-01-01")
    return moment


class OldEvent(BaseModel):
    """An error as pipelines report it that know Pricelens only."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "event_dt": "2026-03-01 08:30:00",
                "supid": 17,
                "reason": "File format error",
                "stage": "load_mail",
                "file_path": "/in/prices.csv",
            }
        },
    )

    event_dt: Annotated[
        datetime,
        BeforeValidator(_moment, json_schema_input_type=str),
        AfterValidator(_not_too_old),
        Field(description="ISO 8601, with `T` or a blank; without an offset, in the deployment's time zone."),
    ]
    supid: Annotated[SupplierId, BeforeValidator(_as_text, json_schema_input_type=str | int)] = Field(
        description="The supplier's id."
    )
    reason: Annotated[Line, BeforeValidator(_as_text, json_schema_input_type=str | int)] = Field(
        description="A code or a text; the texts that are known become codes."
    )
    stage: Line
    file_path: Annotated[
        LongLine | None, BeforeValidator(_none_if_blank, json_schema_input_type=LongLine | None)
    ] = None


def reported(new: NewInvestigationEvent, *, key: str | None, now: datetime) -> Reported:
    """The event as it is logged.

    Args:
        key: The id that it has if it names none.

    Raises:
        Unprocessable: `occurred_in_future`, `event_id_reserved`.
    """
    event_id = new.event_id or key
    if event_id and event_id.startswith(OWN_IDS):
        raise Unprocessable(
            "event_id_reserved",
            f"the id {event_id!r} begins with {event_id.partition(':')[0]}:, as those of Penstock's own events do",
            hint="give your events ids that begin otherwise",
        )
    if new.occurred_at and new.occurred_at > now + CLOCK_TOLERANCE:
        raise Unprocessable(
            "occurred_in_future",
            f"it is dated {new.occurred_at.isoformat()}, more than 5 minutes ahead of our clock, which says {now.isoformat()}",
            hint="set the clock right, or the offset; a call of Pricelens without one is of the time zone PENSTOCK_TIMEZONE",
        )
    content = new.model_dump(mode="json", exclude_none=True)
    content.pop("event_id", None)
    if new.action == "trigger":
        del content["action"]  # as events were told apart before there was another one
    digest = digest_of(content)
    return Reported(
        event_id=event_id or _derived(digest if new.occurred_at else None),
        event_id_derived=event_id is None,
        occurred_at=(new.occurred_at or now).astimezone(UTC),
        supplier=new.supplier,
        stage=new.stage,
        reason=new.reason,
        severity=new.severity,
        summary=new.summary,
        detail=new.summary or "",
        digest=digest,
        origin="api",
        action=new.action,
        given=new.fingerprint,
        file=content.get("file"),
        extra=new.extra,
    )


def _derived(digest: bytes | None) -> str:
    """Of what says when it occurred, the same again is the same; nothing else tells two alike apart."""
    return f"derived:{token_hex(16) if digest is None else digest.hex()}"


def from_old(old: OldEvent, zone: ZoneInfo) -> NewInvestigationEvent:
    """The same, as it is reported today.

    Args:
        zone: Of times without an offset.
    """
    at = old.event_dt if old.event_dt.tzinfo else old.event_dt.replace(tzinfo=zone)
    return NewInvestigationEvent(
        occurred_at=at,
        supplier=old.supid,
        stage=old.stage,
        reason=code_of(old.reason),
        file=ReportedFile(path=old.file_path) if old.file_path else None,
    )


def one_id(event_id: str | None, key: str | None) -> None:
    """See that body and header do not name different ids.

    Raises:
        Unprocessable: `event_id_ambiguous`.
    """
    if event_id and key and event_id != key:
        raise Unprocessable(
            "event_id_ambiguous", "`event_id` and the header Idempotency-Key differ", hint="send one of them"
        )
