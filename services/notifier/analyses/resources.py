"""Analyses as the API shows them. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.notifier.analyses.cadence import Bucket
from services.notifier.analyses.findings import FindingName, State
from shared.platform.paging import TotalCount

TOP = 10  # of each list in the overview


class ShownCadence(BaseModel):
    """How regularly good files came in the window that ends with the analysed day."""

    model_config = ConfigDict(from_attributes=True)

    good_days: int = Field(description="Days with a good file.")
    median_gap: float | None = Field(description="Days from one of them to the next, the median.")
    spread: float | None = Field(description="Standard deviation of these gaps, in days.")
    long_gaps: float | None = Field(
        description="Share of the gaps that are long ones, by default more than 2 medians."
    )
    days_since: int | None = Field(description="Days since the last good file ever.")


class ShownFinding(BaseModel):
    """Something that is not as it should be."""

    finding: FindingName
    state: Literal["warn", "fail"]
    summary: str = Field(description="A sentence about the worst of the evidence.")
    evidence: list[dict[str, Any]] = Field(
        description="Numbers, days, what it was compared with and the threshold; of each file by itself."
    )
    investigation_id: UUID | None = Field(
        None,
        description="The investigation of this finding; null: it has none of its own. A file that failed is in that of the"
        " error that it failed with.",
    )


class Links(BaseModel):
    """Where to go on: paths on this host."""

    supplier: str
    files: str = Field(description="The supplier's files of that day.")
    investigations: list[str] = Field(description="Of its findings.")
    errors: str = Field(
        description="All investigations of the supplier, those with the latest errors first; that of a file that failed is"
        " among them."
    )
    imports: list[str] = Field(description="That the evidence is about.")


class ShownAnalysis(BaseModel):
    """A supplier's day, judged by what was known at its end."""

    supplier: str
    name: str | None = Field(description="The supplier's; null: it is no longer there.")
    day: date
    state: State = Field(
        description="The worst of the findings; `passed`: there is none. `no_data`: no file came, and none was expected."
    )
    bucket: Bucket
    cadence: ShownCadence
    findings: list[ShownFinding]
    passed: list[FindingName] = Field(description="What was judged as well, and is as it should be.")
    last_good_day: date | None
    expected_day: date | None = Field(
        description="When the next good file is expected; null: nobody knows, as the supplier is new or has sent too few."
    )
    analysed_at: datetime
    links: Links


class AnalysisPage(BaseModel):
    day: date | None = Field(
        description="Whose analyses these are; null: of any, or there are none at all so far."
    )
    items: list[ShownAnalysis]
    next_cursor: str | None
    total: TotalCount = None


class Count(BaseModel):
    count: int
    before: int = Field(description="The day before.")


class Buckets(BaseModel):
    """How many suppliers there are of each kind."""

    day: date | None = Field(description="null: nothing was analysed so far.")
    day_before: date | None
    suppliers: Count = Field(description="Those that were analysed.")
    buckets: dict[Bucket, Count]
    states: dict[State, Count]


class LateSupplier(BaseModel):
    """A supplier from whom a good file was expected that has not come so far."""

    model_config = ConfigDict(from_attributes=True)

    supplier: str
    name: str
    bucket: Bucket
    expected_day: date
    days_late: int = Field(description="Days that have passed since; 1: it was expected yesterday.")
    last_good_day: date | None
    analysed_day: date = Field(description="The last analysis, which says what was expected.")
    investigation_id: UUID | None = Field(
        description="That of its lateness; null: no analysis has found it so far."
    )


class LatePage(BaseModel):
    items: list[LateSupplier]
    next_cursor: str | None
    total: TotalCount = None


class DayOfFiles(BaseModel):
    """What came on a day."""

    day: date
    files: int
    good: int
    failed: int
    rows: int = Field(description="Data records.")
    rejected: int
    errors: int = Field(
        description="Reported by pipelines and imports; what analyses found is not among them."
    )


class ReasonOfDay(BaseModel):
    reason: str
    errors: int


class Overview(BaseModel):
    """All that the top of a dashboard shows."""

    today: DayOfFiles
    yesterday: DayOfFiles
    suppliers: int = Field(description="Those that are enabled.")
    last_analysis: Buckets
    late_count: int
    late: list[LateSupplier] = Field(description=f"The {TOP} that are late for longest.")
    failures_count: int = Field(description="Of the last analysis.")
    failures: list[ShownAnalysis] = Field(description=f"The first {TOP} of them.")
    top_reasons: list[ReasonOfDay] = Field(description=f"Of yesterday, the {TOP} most frequent ones.")
    investigations: dict[str, int] = Field(description="How many there are in each state.")


def analysis_of(row: Any, investigations: Mapping[tuple[str, str], UUID]) -> ShownAnalysis:
    """A row of `queries`, with the investigations by supplier and finding."""
    findings = [
        ShownFinding(**found, investigation_id=investigations.get((row.supplier, found["finding"])))
        for found in row.findings
    ]
    return ShownAnalysis(
        supplier=row.supplier,
        name=row.name,
        day=row.day,
        state=row.state,
        bucket=row.bucket,
        cadence=ShownCadence(**row.cadence),
        findings=findings,
        passed=row.passed,
        last_good_day=row.last_good_day,
        expected_day=row.expected_day,
        analysed_at=row.analysed_at,
        links=_links(row.supplier, row.day, findings),
    )


def _links(supplier: str, day: date, findings: Sequence[ShownFinding]) -> Links:
    here = f"/api/v1/suppliers/{quote(supplier, safe='')}"
    imports = {piece.get("import_id"): None for found in findings for piece in found.evidence}
    return Links(
        supplier=here,
        files=f"{here}/files?since={day}&until={day}",
        investigations=[
            f"/api/v1/investigations/{found.investigation_id}" for found in findings if found.investigation_id
        ],
        errors=f"/api/v1/investigations?supplier={quote(supplier, safe='')}&order=-last_seen",
        imports=[f"/api/v1/imports/{one}" for one in imports if one],
    )
