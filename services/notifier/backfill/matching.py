"""Which rows of ClickHouse are errors that a pipeline has reported as well. Pure.

As where a pipeline reports what was taken over before (`logbook.matching`), an event and a row of the same supplier
and reason are one if they are close enough, each with one other at most. But here it is in order of time, each row with the
earliest event that is left to it: no other way pairs more of them, as all reach equally far. That matters, because a row
that is one with an event is not kept, and the next run must find an event for it again.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime

from services.notifier.logbook.matching import SAME_WITHIN, Sighting

Kind = tuple[str, str]  # supplier, reason


class Matching:
    """Rows of each kind in order of time, batch after batch: which events the batches before have taken is remembered."""

    def __init__(self) -> None:
        self._taken: defaultdict[Kind, dict[str, datetime]] = defaultdict(dict)

    def of(self, rows: Iterable[Sighting], reported: Iterable[Sighting]) -> set[str]:
        """The ids of those rows that are one with an event.

        Args:
            rows: Those of one supplier and reason in order of time, none of them before those of earlier batches.
            reported: The events that these rows can reach.
        """
        left = self._left(reported)
        return {row.event_id for row in rows if self._takes(row, left[row.supplier, row.reason])}

    def _takes(self, row: Sighting, events: deque[Sighting]) -> bool:
        """Whether one of the events, which are in order of time, is left to the row, whose it is then."""
        while events and events[0].occurred_at < row.occurred_at - SAME_WITHIN:
            events.popleft()
        if not events or events[0].occurred_at > row.occurred_at + SAME_WITHIN:
            return False
        event = events.popleft()
        self._taken[row.supplier, row.reason][event.event_id] = event.occurred_at
        return True

    def _left(self, reported: Iterable[Sighting]) -> defaultdict[Kind, deque[Sighting]]:
        left: defaultdict[Kind, deque[Sighting]] = defaultdict(deque)
        for event in sorted(reported, key=lambda event: (event.occurred_at, event.event_id)):
            if event.event_id not in self._taken[event.supplier, event.reason]:
                left[event.supplier, event.reason].append(event)
        return left

    def forget_before(self, moment: datetime) -> None:
        """No row of before this time comes any more."""
        for kind, events in list(self._taken.items()):
            reachable = {event_id: at for event_id, at in events.items() if at >= moment - SAME_WITHIN}
            if reachable:
                self._taken[kind] = reachable
            else:
                del self._taken[kind]
