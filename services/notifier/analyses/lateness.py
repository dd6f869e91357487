"""Whether a supplier is late, as of the end of a day. Pure."""

from datetime import date, timedelta
from typing import Any

from services.notifier.analyses.cadence import Cadence, GoodDays
from services.notifier.analyses.expectation import Expectation, expected_after
from services.notifier.analyses.findings import Judgement, Verdict
from services.notifier.analyses.thresholds import Thresholds


def expectation_of(good: GoodDays, cadence: Cadence) -> Expectation | None:
    """When the next file is expected; None: nobody knows, as the supplier is new or has sent too few."""
    return None if cadence.bucket == "new" else expected_after(good)


def is_late(expected_day: date, day: date, thresholds: Thresholds) -> bool:
    """Whether at the end of `day` a file is late that was expected on `expected_day`."""
    return day >= expected_day + timedelta(days=thresholds.late_days)


def lateness(
    good: GoodDays, expectation: Expectation | None, day: date, thresholds: Thresholds
) -> list[Verdict]:
    """`late`: `fail`, when the expected day has passed without a good file, and `late_days` more; until then `warn`.

    Not judged where nothing is expected.
    """
    if expectation is None or good.last is None:
        return []
    if day < expectation.day:
        return [Verdict("late", "passed")]
    judgement: Judgement = "fail" if is_late(expectation.day, day, thresholds) else "warn"
    says = f"no good file since {good.last}; one was expected by {expectation.day}"
    evidence: dict[str, Any] = {
        "expected_day": expectation.day.isoformat(),
        "last_good_day": good.last.isoformat(),
        "days_late": (day - expectation.day).days + 1,
        "days_since": (day - good.last).days,
        "usual_gap": expectation.gap,
        "basis": expectation.basis,
        "weekdays": list(expectation.weekdays),
        "threshold": {"late_days": thresholds.late_days},
    }
    return [Verdict("late", judgement, says, evidence)]
