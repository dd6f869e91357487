"""Event types, and the patterns that ask for them."""

import pytest

from services.notifier.messages.event_types import (
    EVENT_TYPES,
    WILDCARDS,
    checked_event_types,
    patterns_for,
)
from shared.contracts.datasets import datasets
from shared.contracts.problems import Unprocessable


def test_each_dataset_has_three_and_each_family_a_wildcard():
    for dataset in datasets().values():
        assert {f"{dataset.noun}.{what}" for what in ("created", "updated", "deleted")} <= set(EVENT_TYPES)
        assert f"{dataset.noun}.*" in WILDCARDS
    assert {"import.*", "investigation.*", "endpoint.*", "*"} <= set(WILDCARDS)
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)
    assert len(set(WILDCARDS)) == len(WILDCARDS)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_type_is_asked_for_by_itself_its_family_and_everything(event_type):
    patterns = patterns_for(event_type)
    assert patterns == [event_type, f"{event_type.split('.')[0]}.*", "*"]
    assert checked_event_types(patterns) == patterns


def test_repetitions_are_dropped_and_the_order_stays():
    wanted = ["product.deleted", "import.*", "product.deleted", "*"]
    assert checked_event_types(wanted) == ["product.deleted", "import.*", "*"]


@pytest.mark.parametrize(
    "name",
    [
        "records.changed",
        "records.*",
        "webhook.test",
        "webhook.*",
        "product",
        "product.",
        "*.*",
        "product.*.*",
        "",
        " *",
    ],
)
def test_an_unknown_one_is_told_with_those_there_are(name):
    with pytest.raises(Unprocessable) as refused:
        checked_event_types(["import.completed", name])
    document = refused.value.document()
    assert document["code"] == "event_type_unknown"
    assert repr(name) in document["detail"]
    assert "import.completed" not in document["detail"]
    assert set(document["known"]) == {*EVENT_TYPES, *WILDCARDS}
