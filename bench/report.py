"""What a measurement says: one JSON line a figure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DIGITS = 3  # behind the point: milliseconds, where the unit is seconds


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: Fixed; scripts rely on it.
        value: What was measured of Penstock, in `unit`.
        baseline: What it is compared with, in `unit`, measured in the same run.
        goal: Where the ratio should be, such as `<= 1.0`, if there is a bar.
        detail: What explains the value: single rounds, other baselines, sizes.
    """

    name: str
    value: float
    unit: str
    baseline: float
    goal: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.value / self.baseline

    def line(self) -> str:
        """The figure as one line of JSON."""
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value, DIGITS),
                "unit": self.unit,
                "baseline": round(self.baseline, DIGITS),
                "ratio": round(self.ratio, DIGITS),
                "goal": self.goal,
                "detail": _rounded(self.detail),
            },
            ensure_ascii=False,
        )


def missing_line(name: str, error: str) -> str:
    """The line of a figure that could not be measured, and the first line of the reason why."""
    nothing = dict.fromkeys(("value", "unit", "baseline", "ratio"))
    return json.dumps({"name": name, **nothing, "error": error.partition("\n")[0]}, ensure_ascii=False)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
