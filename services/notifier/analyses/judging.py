"""What a day of a supplier comes to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.notifier.analyses import anomalies
from services.notifier.analyses.cadence import Cadence, GoodDays, cadence_of
from services.notifier.analyses.columns import column_verdicts
from services.notifier.analyses.findings import JUDGEMENTS, Delivered, Finding, State, Verdict, found_in
from services.notifier.analyses.lateness import expectation_of, lateness
from services.notifier.analyses.thresholds import Thresholds


@dataclass(frozen=True)
class Facts:
    """All that is known of a supplier as of the end of a day.

    Attributes:
        delivered: The files of that day.
        new_reasons: Reasons whose first error ever was on that day, from whatever stage but the analysis itself.
    """

    supplier: str
    good: GoodDays
    delivered: Sequence[Delivered] = ()
    new_reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Analysis:
    """What a supplier's day comes to.

    Attributes:
        findings: All that was judged, also what passed.
        expected_day: When the next good file is expected; None: nobody knows.
    """

    supplier: str
    day: date
    state: State
    cadence: Cadence
    findings: Sequence[Finding]
    last_good_day: date | None
    expected_day: date | None

    @property
    def odd(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.judgement != "passed"]

    @property
    def passed(self) -> list[str]:
        return [finding.name for finding in self.findings if finding.judgement == "passed"]


def judge(facts: Facts, day: date, thresholds: Thresholds) -> Analysis:
    """The supplier's `day`, by what was known at its end.

    `no_data`: there was no file, none was expected, and nothing else is wrong; else the worst of what was found.
    """
    cadence = cadence_of(facts.good, day, thresholds)
    expectation = expectation_of(facts.good, cadence)
    verdicts = [*lateness(facts.good, expectation, day, thresholds), *_new_reasons(facts)]
    verdicts += anomalies.failed_file([one.file for one in facts.delivered])
    for one in facts.delivered:
        verdicts += _of_file(one, thresholds)
    findings = found_in(verdicts)
    return Analysis(
        supplier=facts.supplier,
        day=day,
        state=_state(facts, findings),
        cadence=cadence,
        findings=findings,
        last_good_day=facts.good.last,
        expected_day=expectation.day if expectation else None,
    )


def _of_file(delivered: Delivered, thresholds: Thresholds) -> list[Verdict]:
    """What is in it. Of a file that failed only what is odd, as that may be why: it proves nothing to be right again."""
    status = delivered.file.status
    verdicts = anomalies.duplicate_file(delivered, thresholds) if status == "good" else []
    if delivered.superseded or status == "received":
        return verdicts
    checks = anomalies.CHECKS if status == "good" else anomalies.CHECKS_OF_FAILED
    of_content = [verdict for check in checks for verdict in check(delivered, thresholds)]
    of_content += column_verdicts(delivered, thresholds)
    return verdicts + [one for one in of_content if status == "good" or one.judgement != "passed"]


def _new_reasons(facts: Facts) -> list[Verdict]:
    """`warn`: errors of a reason that this supplier never had before."""
    if not facts.new_reasons:
        return [Verdict("new_reason", "passed")]
    return [
        Verdict("new_reason", "warn", f"first error ever for the reason `{reason}`", {"reason": reason})
        for reason in facts.new_reasons
    ]


def _state(facts: Facts, findings: Sequence[Finding]) -> State:
    worst: State = max((finding.judgement for finding in findings), key=JUDGEMENTS.index, default="passed")
    return "no_data" if worst == "passed" and not facts.delivered else worst
