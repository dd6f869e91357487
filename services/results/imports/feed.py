"""What changes among the imports of one tenant, for all in this process who listen.

One query finds what has changed, however many listen to however many imports. It is made at every POLL_SECONDS, less often
where nothing happens, and at once when this process hears of a change: every process hears of work that begins and goes on.
Another process's writes are found by `changed_at`, which is set a moment before its transaction commits: a later one may
be seen first. So each query begins somewhat before the one that came before it, and what was told is recognised.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.results.imports import repository
from services.results.imports.filters import Filters
from services.results.imports.states import Standing, State, standing_of, state_of
from services.results.tables import AnyRow
from shared.platform.logs import get_logger
from shared.platform.tenancy import tenant_reading

POLL_SECONDS = 0.5  # how late a change may be that another process has heard of
IDLE_POLL_SECONDS = 2.0  # the same where nothing is processed: an upload, or the end of what never began
IDLE_AFTER_SECONDS = 10.0  # without a change
GAP_SECONDS = 0.1  # between two queries, however often this process hears something
OVERLAP = timedelta(
    seconds=5
)  # from the statement that writes to its commit: some ms, and some s where disks stall
# One that stands still for longer is ended by PostgreSQL (`idle_in_transaction_session_timeout`, 60 s).
LONGEST_OVERLAP = timedelta(seconds=65)
LOOK_BACK = timedelta(seconds=10)  # how often the longest overlap is looked at
CHANGES_AT_ONCE = 500
STATES_KEPT = 1000  # for those who are behind
OPEN_SHOWN = 200  # imports that have not ended, to who begins to listen

log = get_logger(__name__)


@dataclass(frozen=True)
class Opening:
    """What somebody is told who begins to listen: the imports that have not ended, newest first.

    Attributes:
        number: Of the last change before; what follows comes as changes.
        moment: When, by the clock of the database.
    """

    number: int
    moment: datetime
    states: Sequence[State]


class Watch:
    """One import that somebody listens to: its newest state, and who waits for the next one."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.listeners = 0
        self.changed = asyncio.Event()

    def show(self, state: State) -> None:
        """Make this the state to send, unless it was read before the one that is."""
        if state.standing < self.state.standing:
            return
        progressed = state.progress > self.state.progress
        self.state = state
        if progressed:
            self.announce()

    def announce(self) -> None:
        """Wake who waits."""
        self.changed.set()
        self.changed = asyncio.Event()


class Feed:
    """The changes of one tenant's imports, numbered; of each import the newest is kept, of all the last STATES_KEPT."""

    def __init__(self, engine: AsyncEngine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant
        self.listeners = 0
        self.closed = False
        self.number = 0
        self.changed = asyncio.Event()
        self._states: OrderedDict[UUID, tuple[int, State]] = OrderedDict()  # in the order of the numbers
        self._forgotten = 0  # changes up to this number may be missing
        self._running: set[UUID] = set()
        self._watches: dict[UUID, Watch] = {}
        self._standings: dict[UUID, Standing] = {}  # what a look may find again
        self._looked: datetime | None = None
        self._looked_back: datetime | None = None
        self._changed = monotonic()
        self._looking = asyncio.Lock()
        self._woken = asyncio.Event()
        self._openings: dict[Filters, asyncio.Task[Opening]] = {}

    @property
    def is_running(self) -> bool:
        """Whether an import is being processed."""
        return bool(self._running)

    def wake(self) -> None:
        """Something has changed: do not wait for the next poll."""
        self._woken.set()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        for watch in self._watches.values():
            watch.announce()
        self._announce()
        self._woken.set()

    def present(self, import_id: UUID) -> State | None:
        """How the import stands, if somebody listens to it."""
        watch = self._watches.get(import_id)
        return watch.state if watch else None

    @contextmanager
    def watching(self, state: State) -> Iterator[Watch]:
        """While entered, the import of `state` is under watch."""
        import_id = state.row.import_id
        watch = self._watches.setdefault(import_id, Watch(state))
        watch.show(state)
        watch.listeners += 1
        try:
            yield watch
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                del self._watches[import_id]

    def after(self, number: int) -> list[State] | None:
        """What has changed after change `number`, of each import its newest state, in the order of the changes.

        None: so much that it is no longer known.
        """
        if number < self._forgotten:
            return None
        fresh = []
        for changed, state in reversed(self._states.values()):
            if changed <= number:
                break
            fresh.append(state)
        return fresh[::-1]

    async def opening(self, dataset: str | None, source: str | None) -> Opening:
        """The imports of these that have not ended; asked for once for all who come meanwhile and want the same."""
        wanted = Filters(statuses=("pending", "processing"), dataset=dataset, source=source)
        if wanted not in self._openings:
            self._openings[wanted] = asyncio.create_task(self._open(wanted))
            self._openings[wanted].add_done_callback(lambda _: self._openings.pop(wanted))
        return await asyncio.shield(self._openings[wanted])

    async def poll(self) -> None:
        """Until it is closed: find what has changed, and show it."""
        while not self.closed:
            try:
                async with self._looking, tenant_reading(self._engine, self._tenant) as connection:
                    await self._look(connection)
            except Exception as error:  # noqa: BLE001 - the listeners keep what they know until the next poll
                log.warning("stream.poll_failed", tenant=self._tenant, error=repr(error))
            await asyncio.sleep(GAP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause() - GAP_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    def _pause(self) -> float:
        # Who follows one import waits for its next change; of an ended one nobody does.
        is_idle = not self._running and not self._watches and monotonic() - self._changed > IDLE_AFTER_SECONDS
        return IDLE_POLL_SECONDS if is_idle else POLL_SECONDS

    async def _open(self, wanted: Filters) -> Opening:
        # No poll meanwhile: what one finds later is then later than what is read here.
        async with self._looking, tenant_reading(self._engine, self._tenant) as connection:
            moment = await self._look(connection)
            rows = await repository.list_imports(
                connection, self._tenant, wanted, after=None, limit=OPEN_SHOWN
            )
        now = datetime.now(UTC)
        states = [self._known(row) or state_of(row, now) for row in rows]
        self._running |= {state.row.import_id for state in states if state.is_running}
        return Opening(self.number, moment, states)

    async def _look(self, connection: AsyncConnection) -> datetime:
        """Show what has changed, and return a moment up to which that is all that was committed."""
        moment = await repository.database_time(connection)
        is_long = self._looked_back is None or moment - self._looked_back >= LOOK_BACK
        since = (self._looked_back or moment) - LONGEST_OVERLAP
        if not is_long and self._looked:
            since = self._looked - OVERLAP
        after = since, repository.FIRST_ID
        while True:
            rows = await repository.list_changed(connection, self._tenant, after=after, limit=CHANGES_AT_ONCE)
            self._show(rows)
            if len(rows) < CHANGES_AT_ONCE:
                break
            after = rows[-1].changed_at, rows[-1].import_id
        self._looked = moment
        if is_long:
            self._looked_back = moment
            self._forget_before(moment - LONGEST_OVERLAP)
        return moment

    def _forget_before(self, moment: datetime) -> None:
        """Of changes before that, no look will tell again."""
        self._standings = {
            import_id: standing for import_id, standing in self._standings.items() if standing[1] > moment
        }

    def _show(self, rows: Sequence[AnyRow]) -> None:
        before, now = self.number, datetime.now(UTC)
        for row in rows:
            known, standing = self._standings.get(row.import_id), standing_of(row)
            watch = self._watches.get(row.import_id)
            if known is None or known < standing:
                state = state_of(row, now)
                self._standings[row.import_id] = standing
                self._add(state)
            elif watch is None or watch.state.standing >= standing:
                continue
            else:
                state = self._known(row) or state_of(row, now)
            if watch:
                watch.show(state)
        if self.number > before:
            self._changed = monotonic()
            self._announce()

    def _known(self, row: AnyRow) -> State | None:
        """The newest state of the import that is kept, unless `row` tells a later one."""
        _, state = self._states.get(row.import_id, (0, None))
        return state if state is not None and standing_of(row) <= state.standing else None

    def _add(self, state: State) -> None:
        import_id = state.row.import_id
        self.number += 1
        self._states[import_id] = self.number, state
        self._states.move_to_end(import_id)
        if state.is_running:
            self._running.add(import_id)
        else:
            self._running.discard(import_id)
        if len(self._states) > STATES_KEPT:
            _, (self._forgotten, _) = self._states.popitem(last=False)

    def _announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()
