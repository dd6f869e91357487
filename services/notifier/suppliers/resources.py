"""Suppliers, their files and days as the API shows and takes them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from unicodedata import category
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.notifier.texts import Line
from shared.platform.paging import TotalCount

LATEST_FILES = 10

AddedBy = Literal["api", "file", "import", "clickhouse"]
ShownStatus = Literal["received", "good", "failed"]


def _printable(value: str) -> str:
    if not value.isprintable() and any(category(letter) in {"Cc", "Cs"} for letter in value):
        raise ValueError("must not contain control characters, such as line ends or tabs")
    return value


def _addressable(value: str) -> str:
    """See that `/suppliers/{id}` can name it."""
    if not {".", ".."}.isdisjoint(value.split("/")):
        raise ValueError("must not be `.` or `..`, nor have one of these between slashes")
    if is_reserved(value):
        raise ValueError("must not be `import`, nor end with `/days` or `/files`")
    return value


def is_reserved(path: str) -> bool:
    """Whether what stands behind `/suppliers/` is a path of ours, and no supplier's id."""
    return path == "import" or path.endswith(("/days", "/files"))


def can_be_known(source: str) -> bool:
    """Whether what an import or another system calls its source can be a supplier's id."""
    try:
        return _addressable(_printable(source)) == source.strip()
    except ValueError:
        return False


SupplierId = Annotated[
    Line,
    AfterValidator(_printable),
    AfterValidator(_addressable),
    Field(
        description="What its files name as `data_source_name`, and events as `supplier`. May contain `/`."
    ),
]
Name = Annotated[Line, AfterValidator(_printable), Field(description="For people.")]
Partner = Annotated[
    Line | None, Field(description="The partner that it belongs to; several suppliers may have the same.")
]
Enabled = Annotated[
    bool, Field(description="false: it is not expected to send anything, so its silence is no error.")
]


class SupplierValues(BaseModel):
    """What a supplier is, but for its id."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    partner: Partner = None
    enabled: Enabled = True


class NewSupplier(SupplierValues):
    id: SupplierId


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


class SupplierPatch(BaseModel):
    """Changes of a supplier (JSON merge patch, RFC 7396): what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field(None, json_schema_extra=_without_default)  # type: ignore[assignment]
    partner: Partner = None
    enabled: Enabled = Field(None, json_schema_extra=_without_default)  # type: ignore[assignment]


class Supplier(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    partner: str | None
    enabled: bool
    added_by: AddedBy = Field(
        description="How it became known: by the API, a CSV file, the first import it sent, or ClickHouse."
    )
    created_at: datetime
    updated_at: datetime


class AddedSupplier(Supplier):
    released: int = Field(
        description="Events that were in quarantine, as nobody knew this supplier, and have been logged now."
    )


class Numbers(BaseModel):
    """What came of a supplier.

    A file that is imported and that events name as well counts once; dry runs and corrections of earlier imports are none.
    """

    files: int = 0
    good_files: int = Field(0, description="Files of which at least one record came through.")
    failed_files: int = Field(0, description="Files that failed, or of which no record came through.")
    rows: int = Field(0, description="Data records in these files, as far as that is known.")
    rejected: int = Field(0, description="Data records that have a row error.")
    errors: int = Field(
        0, description="Reported by pipelines and imports; what analyses found is not among them."
    )


class ReasonCount(BaseModel):
    reason: str
    errors: int


class Day(Numbers):
    """A day of a supplier, in the time zone of the deployment."""

    day: date
    last_stage: str | None = Field(None, description="Where the latest file or error of the day was.")
    reasons: list[ReasonCount] = Field(
        default_factory=list, description="Of its errors, the most frequent first."
    )


class SupplierOfDay(Supplier):
    day: Day | None = Field(
        None, description="Its day, if the list was asked for one; with zeros, if nothing happened."
    )


class SupplierList(BaseModel):
    items: list[SupplierOfDay]
    next_cursor: str | None
    total: TotalCount = None


class File(BaseModel):
    """A file of a supplier: an import, one that events name, or what ClickHouse has of a day."""

    model_config = ConfigDict(from_attributes=True)

    origin: Literal["import", "event", "clickhouse"]
    status: ShownStatus = Field(
        description="`good`: at least one record came through; `failed`: none did, or it ended early; `received`: how it went is"
        " not known."
    )
    stage: str | None = Field(description="Where it was when that was so.")
    day: date
    occurred_at: datetime = Field(description="When it came.")
    import_id: UUID | None = Field(description="The import, at `/imports/{import_id}`, if it is one.")
    dataset: str | None
    path: str | None
    sha256: str | None
    size: int | None = Field(description="Bytes.")
    rows: int | None = Field(description="Data records.")
    rejected: int | None = Field(description="Data records that have a row error.")


class FileList(BaseModel):
    items: list[File]
    next_cursor: str | None
    total: TotalCount = None


class DayList(BaseModel):
    """Days of a supplier."""

    since: date
    until: date
    items: list[Day] = Field(description="Those on which anything happened, the latest first.")


class LastAnalysis(BaseModel):
    """What the daily analysis found last."""

    model_config = ConfigDict(from_attributes=True)

    day: date
    state: Literal["passed", "warn", "fail", "no_data"]
    bucket: Literal["new", "consistent", "inconsistent", "dead"]
    cadence: dict[str, Any] = Field(description="How regularly good files came, as `/analyses` shows it.")
    findings: list[dict[str, Any]] = Field(description="What is not as it should be, with the evidence.")
    passed: list[str] = Field(description="What was judged as well, and is as it should be.")
    last_good_day: date | None
    expected_day: date | None = Field(description="When the next file is expected.")
    analysed_at: datetime


class Links(BaseModel):
    """Where to go on: paths on this host."""

    days: str
    files: str
    investigations: str
    analyses: str


def path_of(supplier_id: str) -> str:
    return f"/api/v1/suppliers/{quote(supplier_id, safe='')}"


def links_of(supplier_id: str) -> Links:
    path, query = path_of(supplier_id), urlencode({"supplier": supplier_id})
    return Links(
        days=f"{path}/days",
        files=f"{path}/files",
        investigations=f"/api/v1/investigations?{query}",
        analyses=f"/api/v1/analyses?{query}",
    )


class SupplierPage(Supplier):
    """A supplier, and all that is known of it at a glance."""

    totals: Numbers = Field(description="Since it is known.")
    last_good_day: date | None = Field(description="The latest day with a good file.")
    last_stage: str | None = Field(description="Where its latest file or error was.")
    open_investigations: int = Field(
        description="Those with errors of it that are open, reopened or acknowledged."
    )
    quarantined: int = Field(
        description="Events that still wait in quarantine, as nobody knew it; they are being logged."
    )
    latest_files: list[File] = Field(description=f"The latest {LATEST_FILES}, the newest first.")
    last_analysis: LastAnalysis | None
    links: Links


class ListingError(BaseModel):
    """Why a row was not taken."""

    line: int = Field(description="Physical line where the row begins, from 1.")
    column: str | None = Field(description="Which column; null: the row as a whole.")
    code: str
    message: str


class ImportedSuppliers(BaseModel):
    """What became of a file's rows."""

    created: int
    updated: int
    unchanged: int
    rejected: int = Field(description="Rows that are wrong, and were passed over.")
    released: int = Field(
        description="Events of these suppliers that were in quarantine and have been logged."
    )
    errors: list[ListingError] = Field(description="The first of them, in the order of the file.")
    dry_run: bool
