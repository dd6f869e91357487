"""What is found of a supplier on a day, and what of a file. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, get_args

Judgement = Literal["passed", "warn", "fail"]
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)  # the best first
State = Literal["passed", "warn", "fail", "no_data"]
STATES: tuple[State, ...] = get_args(State)

FindingName = Literal[
    "late",
    "failed_file",
    "row_count",
    "reject_rate",
    "header_change",
    "price_deviation",
    "duplicate_file",
    "new_reason",
    "missing_values",
    "numbers_in_text",
    "sku_format",
    "price_too_low",
    "negative_value",
]
FINDINGS: tuple[FindingName, ...] = get_args(FindingName)

# Whoever saw a file fail has reported it: an import, or a pipeline.
REPORTED_BY_OTHERS: frozenset[FindingName] = frozenset({"failed_file"})

ANALYSE = "analyse"  # the stage of what is found, on which no analysis feeds

MOST_CHANGE = 1e9  # as far as anybody wants to know, and a number in JSON
MOST_EVIDENCE = 20  # pieces that are kept of one finding


@dataclass(frozen=True)
class File:
    """What is known of a file.

    Attributes:
        rows: Data records.
        rejected: Those of them that have a row error.
        header: The column names as they came.
        profile: Members of a `ColumnProfile` by column.
    """

    id: str
    day: date
    status: str
    import_id: str | None = None
    dataset: str | None = None
    path: str | None = None
    rows: int | None = None
    rejected: int | None = None
    header: Sequence[str] | None = None
    profile: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name without folders, for people."""
        return self.path.replace("\\", "/").rpartition("/")[2] if self.path else "a file"

    def named(self) -> dict[str, Any]:
        """As evidence says which file it is of."""
        return {
            "file": self.path,
            "file_id": self.id,
            "import_id": self.import_id,
            "day": self.day.isoformat(),
        }


@dataclass(frozen=True)
class Delivered:
    """A file of the day, and the earlier ones that it is compared with.

    Attributes:
        superseded: A later one of its kind came on the same day, which for a good one was good as well: only that one is
            judged by what is in it.
        before: The last good one of its kind on an earlier day.
        month_before: The first good one of its kind in the 30 days before.
        weekday_rows: Records of the good ones of its kind on the same weekday.
        same_as: An earlier good one with the same content.
    """

    file: File
    superseded: bool = False
    before: File | None = None
    month_before: File | None = None
    weekday_rows: Sequence[int] = ()
    same_as: File | None = None


@dataclass(frozen=True)
class Verdict:
    """What one check says of one thing.

    Attributes:
        says: A sentence, which belongs behind the supplier's name.
        evidence: Numbers, days, what it was compared with and the threshold; JSON.
    """

    finding: FindingName
    judgement: Judgement
    says: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What all verdicts of one name come to: the worst of them, with the evidence of those that are no better than `warn`."""

    name: FindingName
    judgement: Judgement
    summary: str = ""
    evidence: Sequence[Mapping[str, Any]] = ()

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "finding": self.name,
            "state": self.judgement,
            "summary": self.summary,
            "evidence": list(self.evidence),
        }


def change_from(before: float, now: float) -> float:
    """By what share `now` differs from `before`, which is above zero. Exact where people can tell: 1.3 from 1 is 0.3."""
    return min(round(now / before - 1, 9), MOST_CHANGE)


def found_in(verdicts: Sequence[Verdict]) -> list[Finding]:
    """One finding for each check that was made, in the order of `FINDINGS`."""
    by_name: dict[FindingName, list[Verdict]] = {}
    for verdict in verdicts:
        by_name.setdefault(verdict.finding, []).append(verdict)
    return [_summed_up(name, by_name[name]) for name in FINDINGS if name in by_name]


def _summed_up(name: FindingName, verdicts: Sequence[Verdict]) -> Finding:
    odd = sorted(
        (verdict for verdict in verdicts if verdict.judgement != "passed"),
        key=lambda verdict: -JUDGEMENTS.index(verdict.judgement),
    )
    if not odd:
        return Finding(name, "passed")
    more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
    evidence = [{"state": one.judgement, "says": one.says, **one.evidence} for one in odd[:MOST_EVIDENCE]]
    return Finding(name, odd[0].judgement, f"{odd[0].says}{more}", evidence)
