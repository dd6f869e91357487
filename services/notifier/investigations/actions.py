"""What people do with investigations, one or many at a time. All for one tenant, in the caller's transaction."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.changing import Alone, Step, alone, found, keep
from services.notifier.investigations.deciding import DONE, Decision, decided
from services.notifier.investigations.derived import Columns
from shared.contracts.problems import NotFound, Problem
from shared.platform.bus import Publish


async def act(
    connection: AsyncConnection,
    tenant: str,
    ids: Sequence[UUID],
    decision: Decision,
    *,
    actor: str,
    publish: Publish,
) -> dict[UUID, Problem | None]:
    """Do the same with each of these investigations: what was in the way, or None.

    The same again has no further effect, but that a note is kept.
    """
    own = await alone(connection, tenant)
    rows = await found(own, ids)
    outcome: dict[UUID, Problem | None] = dict.fromkeys(ids)
    steps = []
    for one in outcome:
        try:
            steps.append(_step(own, rows.get(one), one, decision, actor))
        except Problem as problem:
            outcome[one] = problem
    await keep(own, steps, publish)
    return outcome


def _step(own: Alone, row: Columns | None, wanted: UUID, decision: Decision, actor: str) -> Step:
    row = there(row, wanted)
    columns = decided(row, decision, own.now)
    what = DONE[decision.action] if columns else ("noted" if decision.note else None)
    details = decision.details if columns else None
    return Step(row, columns, what, own.now, actor, decision.note, details)


def there(row: Columns | None, wanted: UUID) -> Columns:
    """`row`, if the tenant has such an investigation.

    Raises:
        NotFound: `investigation_not_found`.
    """
    if row is None:
        raise NotFound("investigation_not_found", f"there is no investigation {wanted}")
    return row
