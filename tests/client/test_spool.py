"""The spool's files: whatever is in them, whoever was killed."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client.spool import BATCH_BYTES, BATCH_EVENTS, DAMAGED, Spool, line_of, read_lines
from tests.client.given import waits

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
event_bodies = st.dictionaries(st.sampled_from(["stage", "reason", "extra"]), json_values)


def read_all(data: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    events, damaged = [], []
    while data:
        lines = read_lines(data, whole=True)
        assert 0 < lines.end <= len(data)
        events += lines.events
        damaged += lines.damaged
        data = data[lines.end :]
    return events, damaged


@given(st.binary() | st.text('[]{}":,\\ud8\n0NaInfity-').map(str.encode))
def test_any_bytes_can_be_read_and_what_is_read_can_be_sent(data: bytes) -> None:
    events, _ = read_all(data)

    assert all(json.loads(line_of(event)) == event for event in events)


@settings(max_examples=50)
@given(st.lists(event_bodies, max_size=8), st.data(), st.binary(max_size=20))
def test_a_tear_costs_one_line(bodies: list[dict[str, Any]], data: st.DataObject, rubbish: bytes) -> None:
    written = b"".join(map(line_of, bodies))
    place = data.draw(st.integers(0, len(written)))
    before, after = written[:place], written[place:].partition(b"\n")[2]
    rubbish = rubbish.replace(b"\n", b"")

    events, damaged = read_all(before + b"\xff" + rubbish + b"\n" + after)

    whole = before.count(b"\n")
    behind = after.count(b"\n")
    assert events == bodies[:whole] + bodies[len(bodies) - behind :]
    assert len(damaged) == 1


def test_a_line_whose_end_alone_is_torn_off_is_an_event() -> None:
    assert read_lines(b'{"stage": "a"}\n{"stage": "b"}', whole=True).events == [
        {"stage": "a"},
        {"stage": "b"},
    ]
    assert read_lines(b'{"stage": "a"}\n{"stage": "b"}', whole=False).events == [{"stage": "a"}]


def test_a_batch_is_what_the_api_takes_at_once() -> None:
    small, large = line_of({"n": 1}), line_of({"n": "x" * 30_000})

    assert len(read_lines(small * 1200, whole=True).events) == BATCH_EVENTS
    lines = read_lines(large * 50, whole=True)
    assert BATCH_BYTES - len(large) < lines.end <= BATCH_BYTES
    assert len(read_lines(line_of({"n": "x" * (2 * BATCH_BYTES)}), whole=False).events) == 1


steps = st.lists(st.sampled_from(["log", "log", "log", "send", "send", "die", "end", "tear"]), max_size=30)


@settings(max_examples=40)
@given(steps)
def test_each_event_waits_until_it_is_settled_whoever_dies_in_between(steps: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        spool = Spool(path, max_bytes=16 * 1024)
        spool._segment_bytes = 100  # some three events
        logged, settled = 0, set()
        for step in steps:
            if step == "log":
                spool.append({"n": logged, "pad": "x" * 10})
                logged += 1
            elif step == "send":
                if batch := spool.take():
                    settled |= {event["n"] for event in batch.events}
                    spool.settle(batch)
            elif step == "tear":
                tear(spool)
            else:
                spool.close() if step == "end" else die(spool)
                spool = Spool(path, max_bytes=16 * 1024)
                spool._segment_bytes = 100

        rest = []
        while batch := spool.take():
            rest += [event["n"] for event in batch.events]
            spool.settle(batch)
        assert set(rest) | settled == set(range(logged))
        assert len(rest) == len(set(rest))
        spool.close()
        assert waits(path) == []
        assert list(path.glob("*.events")) == []


def die(spool: Spool) -> None:
    """As the system ends a process: files and locks are let go, nothing else is done."""
    for segment in spool._segments():
        os.close(segment.descriptor)


def tear(spool: Spool) -> None:
    """The process dies within a write."""
    if spool._current:
        os.write(spool._current.descriptor, b'{"n": 7, "pad": "xx')
    spool.close()


def test_what_is_damaged_is_set_aside(spool: Path) -> None:
    spool.mkdir()
    (spool / "1.events").write_bytes(b'{"n": 1}\nrubbish\n[]\n{"n": 2}\n\xff\xfe')
    (spool / "2.events").write_bytes(b"\0" * 5000)
    reader = Spool(spool)

    batch = reader.take()
    assert batch
    assert batch.events == [{"n": 1}, {"n": 2}]
    reader.settle(batch)

    assert reader.take() is None
    assert (spool / DAMAGED).read_bytes() == b"rubbish\n[]\n\xff\xfe\n" + b"\0" * 5000 + b"\n"
    assert [path.name for path in spool.iterdir()] == [DAMAGED]
    reader.close()


def test_a_full_spool_drops_the_oldest_but_not_what_a_living_process_holds(spool: Path) -> None:
    living = Spool(spool, max_bytes=20_000)
    living.append({"n": "living"})
    writer = Spool(spool, max_bytes=20_000)

    for number in range(1000):
        writer.append({"n": number, "pad": "x" * 80})

    kept = [event["n"] for event in waits(spool)]
    assert kept[0] == "living"
    assert kept[1:] == list(range(writer.dropped, 1000))
    assert writer.dropped > 500
    assert sum(path.stat().st_size for path in spool.iterdir()) <= 20_000
    living.close()
    writer.close()


def test_a_full_spool_drops_what_ended_processes_have_left(spool: Path) -> None:
    ended = Spool(spool, max_bytes=20_000)
    while sum(path.stat().st_size for path in spool.glob("*.events")) < 15_000:
        ended.append({"n": "ended", "pad": "x" * 80})
    ended.close()
    writer = Spool(spool, max_bytes=20_000)

    for number in range(100):
        writer.append({"n": number, "pad": "x" * 80})

    kept = [event["n"] for event in waits(spool) if event["n"] != "ended"]
    assert kept == list(range(100))
    assert writer.dropped > 0
    writer.close()
