"""Event time counts, not arrival: whatever the order in which events are heard of, the state is the same."""

from itertools import count
from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.investigations.folding import Fold
from services.notifier.investigations.states import Mute, state_of
from tests.notifier.timelines import BOTH, NOW, PLAIN, WORDS, Decision, at, event, expected, timelines

ORDERS = 100  # of each timeline, of which there are 100


class Rows:
    """What would be in the tables."""

    def __init__(self):
        self.investigations = {}
        self.ids = map(UUID, (f"{number:032x}" for number in count(1)))
        self.steps = []

    def log(self, events):
        wide = {one.kind: one.last_resolved for one in self.fingerprints if not one.detail and not one.given}
        fold = Fold(
            self.investigations.values(), {kind: at for kind, at in wide.items() if at}, self.ids, NOW
        )
        folded = list(fold.add_all(dict(enumerate(events))).values())
        for _, investigation in fold.touched.values():
            self.investigations[investigation.id] = investigation
        self.steps += fold.steps
        return folded

    def decide(self, decision, logged):
        """As people's decisions are kept: a later one takes earlier ones away."""
        one = self.both
        moment = at(decision.hours)
        one.acknowledged_at = moment if decision.what == "acknowledge" else None
        one.resolved_at = moment if decision.what == "resolve" else one.resolved_at
        one.reopened_at = moment if decision.what == "reopen" else one.reopened_at
        one.muted_at = one.muted_until = one.muted_events = None
        one.events_since_muted = 0
        if decision.mute:
            one.muted_at, one.muted_until, one.muted_events = (
                moment,
                decision.mute.until,
                decision.mute.events,
            )
            one.events_since_muted = sum(
                e.given == "g" and not e.resolves and e.occurred_at > moment for e in logged
            )
        one.state = state_of(one.standing(), NOW)

    @property
    def fingerprints(self):
        return [one for here in self.investigations.values() for one in here.fingerprints]

    @property
    def both(self):
        return next((here for here in self.investigations.values() if here.fingerprints[0].given), None)

    def shown(self):
        found = {}
        for here in self.investigations.values():
            one = here.fingerprints[0]
            name = "both" if one.given else "words" if one.detail else "plain"
            if here.event_count:
                found[name] = (
                    here.state,
                    here.event_count,
                    here.first_seen,
                    here.last_seen,
                    here.summary,
                    here.severity,
                )
        return found


def replay(events, decisions, chance):
    """Log events in any order, some at once, with decisions in their own order in between."""
    heard, rows, logged = chance.sample(events, len(events)), Rows(), []
    due = list(decisions)
    while heard or (due and rows.both):
        if due and rows.both and (not heard or chance.random() < 0.4):
            rows.decide(due.pop(0), logged)
            continue
        number = chance.randint(1, 3)
        some, heard = heard[:number], heard[number:]
        rows.log(some)
        logged += some
    return rows


@settings(max_examples=100, deadline=None)
@given(timeline=timelines(), seed=st.integers(0, 2**32))
def test_any_order_gives_the_same(timeline, seed):
    events, decisions = timeline
    if not any(one.given for one in events):
        decisions = []
    wanted, chance = expected(events, decisions), Random(seed)
    for _ in range(ORDERS):
        assert replay(events, decisions, chance).shown() == wanted


def test_what_is_derived_at_once_is_what_is_derived_from_all():
    """A trigger is counted without a look at the other fingerprints; it must come to the same."""
    chance = Random(7)
    for _ in range(100):
        rows = Rows()
        for number in range(12):
            what, hours = chance.choice(BOTH), chance.randint(1, 8)
            rows.log([event(number, what, hours, resolves=chance.random() < 0.2)])
            here = rows.both
            shown = rows.shown(), here.unresolved_at, here.event_resolved_at, here.stage, here.reason
            here.derive()
            assert (
                rows.shown(),
                here.unresolved_at,
                here.event_resolved_at,
                here.stage,
                here.reason,
            ) == shown


def test_changes_are_told_as_they_come():
    rows = Rows()
    error, again = event(1, WORDS, 1), event(3, WORDS, 6)
    [first] = rows.log([error])
    rows.log([event(2, WORDS, 5, resolves=True)])
    [late] = rows.log([event(4, WORDS, 4)])
    [reopening] = rows.log([again])
    assert [one.outcome for one in (first, late, reopening)] == ["created", "grouped", "reopened"]
    assert [(step.change, step.event_id, step.count) for step in rows.steps] == [
        ("opened", "e1", 1),
        ("resolved", "e2", 1),
        ("reopened", "e3", 3),
    ]


def test_a_mute_that_has_run_out_is_told_as_such():
    rows = Rows()
    rows.log([event(1, BOTH[0], 1)])
    rows.decide(Decision("mute", 1.5, Mute(events=2)), [])
    rows.log([event(2, BOTH[0], 2)])
    assert rows.both.state == "muted"
    rows.log([event(3, BOTH[1], 3)])
    assert [(step.change, step.mute_ended) for step in rows.steps] == [("opened", False), ("reopened", True)]


def test_the_end_of_a_kind_is_answered_with_its_latest_error():
    rows = Rows()
    [older], [latest] = rows.log([event(1, BOTH[0], 1)]), rows.log([event(2, WORDS, 2)])
    [ended] = rows.log([event(3, PLAIN, 3, resolves=True)])
    assert (ended.investigation, ended.outcome, ended.count) == (latest.investigation, "grouped", 1)
    assert latest.investigation.state == "resolved"
    assert older.investigation.id != latest.investigation.id


def test_ends_of_a_kind_that_come_together_are_as_one():
    rows = Rows()
    rows.log([event(1, WORDS, 1), event(2, PLAIN, 2)])
    fold = Fold(rows.investigations.values(), {}, rows.ids, NOW)
    events = [
        event(3, PLAIN, 5, resolves=True),
        event(4, PLAIN, 7, resolves=True),
        event(5, BOTH[1], 1),  # of another kind
        event(6, PLAIN, 6, resolves=True),
        event(7, WORDS, 8),
        event(8, PLAIN, 9, resolves=True),
    ]
    folded = fold.add_all(dict(enumerate(events)))
    assert sorted(folded) == [0, 1, 2, 3, 4, 5]
    assert folded[0] is folded[1] is folded[3] is not folded[5]
    told = [(step.change, step.event_id) for step in fold.steps if step.investigation.reason == "file_read"]
    assert sorted(told[:2]) == [("resolved", "e4"), ("resolved", "e4")]
    assert told[2:] == [("reopened", "e7"), ("resolved", "e8")]


def test_an_end_without_an_error_shows_nothing_and_counts_later():
    rows = Rows()
    [folded] = rows.log([event(1, WORDS, 5, resolves=True)])
    assert (folded.outcome, folded.count, rows.shown(), rows.steps) == ("grouped", 0, {}, [])
    [late] = rows.log([event(2, WORDS, 4)])
    assert (late.outcome, late.investigation.state, rows.steps) == ("created", "resolved", [])
