"""When it is certain that too many records are refused."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.limits import excess
from shared.contracts.options import ImportOptions


def state(processed, rejected, line, lines, phase="reading"):
    return SimpleNamespace(
        rows_processed=processed,
        rows_rejected=rejected,
        line_number=line,
        lines_detected=lines,
        phase=phase,
    )


# A record: its physical lines, those of blank lines before it, and whether it is refused.
RECORDS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.booleans()), max_size=30)
OPTIONS = st.builds(
    ImportOptions,
    max_rejected=st.none() | st.integers(0, 12),
    max_rejected_share=st.none() | st.sampled_from([0, 0.07, 0.1, 0.29, 0.5, 0.58, 1]) | st.floats(0, 1),
)


@given(RECORDS, OPTIONS)
def test_an_import_fails_early_only_if_it_fails_at_the_end(records, options):
    lines = 1 + sum(own + blank for own, blank, _ in records)
    rejected, line, verdicts = 0, 1, []
    for number, (own, blank, refused) in enumerate(records, 1):
        rejected, line = rejected + refused, line + own + blank
        verdicts.append(excess(options, state(number, rejected, line, lines)))
    final = excess(options, state(len(records), rejected, line, lines, phase="applying"))
    assert final or not any(verdicts)
    assert verdicts == sorted(verdicts, key=bool), "once certain, always certain"


@pytest.mark.parametrize("hundredths", range(101))
def test_a_share_is_meant_as_it_was_written(hundredths):
    """0.29 x 100 is less than 29 in binary fractions."""
    options = ImportOptions(max_rejected_share=hundredths / 100)
    assert excess(options, state(100, hundredths, 101, 101, "applying")) is None
    assert excess(options, state(100, hundredths + 1, 101, 101, "applying"))


def test_an_unknown_number_of_lines_makes_nothing_certain():
    options = ImportOptions(max_rejected_share=0.1)
    assert excess(options, state(10, 10, 11, None)) is None
    assert excess(options, state(10, 10, 11, None, "applying"))


def test_without_a_limit_nothing_is_too_much():
    assert excess(ImportOptions(), state(10, 10, 11, 11, "applying")) is None
