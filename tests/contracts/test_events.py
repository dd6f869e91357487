"""Every event has a golden example and a place in the topology; examples are what consumers out there rely on."""

import json
from importlib.resources import files

import pytest

from shared.contracts.events import EVENTS, EventInvalid, EventUnknown, event_from
from shared.contracts.topology import CANARY_TYPE, LIVE_TYPES, QUEUES, queues_for

EXAMPLES = {
    entry.name.removesuffix(".json"): entry
    for entry in files("shared.contracts.examples").iterdir()
    if entry.name.endswith(".json")
}


def test_every_event_has_an_example_and_every_example_an_event():
    assert set(EXAMPLES) == set(EVENTS)


@pytest.mark.parametrize("event_type", sorted(EVENTS))
def test_the_example_is_read_and_written_unchanged(event_type):
    golden = json.loads(EXAMPLES[event_type].read_text("utf-8"))
    event = event_from(json.dumps(golden).encode())
    assert type(event.data) is EVENTS[event_type]
    assert json.loads(event.to_bytes()) == golden


@pytest.mark.parametrize("event_type", sorted(EVENTS))
def test_every_event_reaches_somebody(event_type):
    if event_type in LIVE_TYPES | {CANARY_TYPE}:  # which have ways of their own
        assert not [queue for queue in QUEUES if event_type in queue.types]
    else:
        assert queues_for(event_type)


def test_the_topology_binds_only_known_types():
    assert {name for queue in QUEUES for name in queue.types} | LIVE_TYPES | {CANARY_TYPE} == set(EVENTS)


def test_a_newer_producer_may_add_members():
    golden = json.loads(EXAMPLES["slice.process"].read_text("utf-8"))
    golden["data"]["added_later"] = 1
    golden["extension"] = "x"
    assert event_from(json.dumps(golden).encode()).data.slice == 3


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"tenant": None},
        {"time": "2026-03-14T09:26:53"},
        {"id": "no uuid"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_wrong_envelope_is_refused(change):
    golden = json.loads(EXAMPLES["slice.process"].read_text("utf-8")) | change
    with pytest.raises(EventInvalid):
        event_from(json.dumps(golden).encode())


@pytest.mark.parametrize("change", [{"type": "import.unheard_of"}, {"data": {}}], ids=["type", "data"])
def test_what_a_newer_producer_may_have_sent_is_unknown_not_wrong(change):
    golden = json.loads(EXAMPLES["slice.process"].read_text("utf-8")) | change
    with pytest.raises(EventUnknown):
        event_from(json.dumps(golden).encode())


def test_bytes_that_are_no_json_are_refused():
    with pytest.raises(EventInvalid):
        event_from(b"\x00\xff")
