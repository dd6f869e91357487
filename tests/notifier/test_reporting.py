"""An event is read the same by both ways: of its JSON at once, and of what its JSON became."""

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.notifier.logbook.reporting import NewInvestigationEvent

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
moments = st.sampled_from(
    [
        "2026-03-01T08:30:00Z",
        "2026-03-01 08:30:00+01:00",
        "2026-03-01T08:30:00",
        "1772353800",
        "",
        1772353800,
        1.5e9,
    ]
)
numbers = st.sampled_from([0, 7, -1, 2**63 - 1, 2**63, 2**70, "7", " 7 ", "7.0", 7.0, 7.5, True, 1e300])
lines = st.sampled_from(["ftp", " a ", "", "\t", "x" * 255, "x" * 256, "ä\u2028", "null"])
files = st.fixed_dictionaries(
    {},
    optional={
        "path": lines | json_values,
        "sha256": st.sampled_from(["a" * 64, "A" * 64, "a" * 63]),
        "size": numbers | json_values,
        "rows": numbers,
        "more": st.none(),
    },
)
events = st.fixed_dictionaries(
    {"stage": lines, "reason": lines},
    optional={
        "event_id": lines | json_values,
        "occurred_at": moments | json_values,
        "supplier": lines | st.none() | numbers,
        "severity": st.sampled_from(["error", "warning", "fatal", "Error"]),
        "summary": lines | json_values,
        "file": files | json_values,
        "action": st.sampled_from(["trigger", "resolve", "end"]),
        "fingerprint": lines,
        "extra": st.dictionaries(st.text(max_size=3), json_values, max_size=3) | json_values,
        "suplier": lines,
    },
)


def read(validate, value):
    try:
        return validate(value)
    except ValidationError as error:
        return [(fault["loc"], fault["type"]) for fault in error.errors()]


@given(events | json_values)
def test_both_ways_to_read_an_event_agree(value):
    text = json.dumps(value)
    at_once = read(NewInvestigationEvent.model_validate_json, text)
    usual = read(NewInvestigationEvent.model_validate, json.loads(text))
    assert isinstance(at_once, list) or at_once == usual  # the usual way tells what is wrong
    assert isinstance(usual, list) or isinstance(at_once, NewInvestigationEvent), "the quick way is not taken"
