from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.results.imports.resources import percent_complete, seconds_left
from tests.results.given import NOON


@pytest.mark.parametrize(
    ("status", "processed", "detected", "percent"),
    [
        ("pending", 0, 100, 0.0),
        ("processing", 1, 3, 33.3),
        ("processing", 100, 100, 99.9),  # all read, not yet committed as completed
        ("processing", 120, 100, 99.9),  # the count at upload was an estimate
        ("processing", 5, 0, 0.0),
        ("failed", 40, 100, 40.0),
        ("cancelled", 40, 100, 40.0),
        ("failed", 100, 100, 99.9),
        ("completed", 0, 0, 100.0),
        ("completed", 90, 100, 100.0),
    ],
)
def test_percent_complete(status: str, processed: int, detected: int, percent: float) -> None:
    assert percent_complete(status, processed, detected) == percent


@pytest.mark.parametrize(
    ("why", "changes", "later", "seconds"),
    [
        ("a quarter took 10 s", {}, 0, 30),
        ("time has passed since", {}, 12.5, 18),
        ("overdue", {}, 60, 0),
        ("another machine's clock is ahead", {}, -5, 30),
        ("more records than detected", {"rows_processed": 120}, 0, 0),
        ("nothing done yet", {"rows_processed": 0}, 0, None),
        ("no progress heard", {"progressed_at": None}, 0, None),
        ("over", {"status": "completed"}, 0, None),
        ("a later run began in the middle", {"run": 2}, 0, None),
    ],
)
def test_seconds_left(why: str, changes: dict[str, Any], later: float, seconds: int | None) -> None:
    row: Any = SimpleNamespace(
        **{
            "status": "processing",
            "run": 1,
            "rows_detected": 100,
            "rows_processed": 25,
            "processing_started_at": NOON,
            "progressed_at": NOON + timedelta(seconds=10),
        }
        | changes
    )
    assert seconds_left(row, NOON + timedelta(seconds=10 + later)) == seconds, why
