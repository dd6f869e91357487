"""Control of imports that were taken in: to end one, or to take a failed one up again.

The processor does it, and knows best how an import stands; upload looks into its view, answers what cannot be at once,
and leaves the rest to a command. Between the look and the command the import may end: then the command does nothing.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload import repository_admission as noted
from services.upload.admission import Admission
from services.upload.resources import Ordered, already_imported, links_of
from shared.contracts.events import FINAL_ERROR_CODES, ImportCancel, ImportRetry
from shared.contracts.problems import Conflict, NotFound
from shared.platform.bus import Bus


async def cancel(connection: AsyncConnection, bus: Bus, tenant: str, import_id: UUID) -> Ordered:
    """Ask for the import's end. One that is cancelled already stays so.

    Raises:
        NotFound: `import_not_found`.
        Conflict: `import_ended`.
    """
    state = await _state(connection, tenant, import_id)
    if state.status in {"completed", "failed"}:
        raise Conflict(
            "import_ended",
            f"import {import_id} is {state.status}; there is nothing to cancel",
            hint="only an import that is pending or processing can be cancelled",
            import_status=state.status,
        )
    if state.status != "cancelled":
        await _publish(connection, bus, tenant, ImportCancel(import_id=import_id))
    return _ordered(import_id, state)


async def retry(
    connection: AsyncConnection, bus: Bus, admission: Admission, tenant: str, import_id: UUID
) -> Ordered:
    """Ask for a failed import to go on where it stopped.

    Raises:
        NotFound: `import_not_found`.
        Conflict: `import_not_failed`, `import_not_retryable`, `file_removed`, `errors_removed`; `file_already_imported`: another import has its bytes.
        TooManyRequests: `too_many_imports`.
    """
    await noted.lock_tenant(connection, tenant)  # or the same bytes might just be coming in
    state = await _state(connection, tenant, import_id)
    if state.status != "failed":
        raise Conflict(
            "import_not_failed",
            f"import {import_id} is {state.status}; only a failed import can be tried again",
            hint="to import the file once more, upload it again; if it was loaded before, with force=true",
            import_status=state.status,
        )
    if state.error_code in FINAL_ERROR_CODES:
        raise Conflict(
            "import_not_retryable",
            f"import {import_id} failed with {state.error_code}; trying it again would end in the same way",
            hint="mend the file or raise the limit, and upload it again",
            error_code=state.error_code,
        )
    _check_kept(import_id, state)
    if not (state.forced or state.dry_run):
        same = await noted.find_same(connection, tenant, state.dataset, state.sha256, import_id=import_id)
        if same:
            raise already_imported(same, state.dataset)
    await admission.check_room(connection, tenant)
    await noted.open_again(connection, tenant, import_id, run=state.run + 1)
    await _publish(connection, bus, tenant, ImportRetry(import_id=import_id))
    return _ordered(import_id, state)


def _check_kept(import_id: UUID, state: Row[Any]) -> None:
    hint = "upload the file again"
    if state.file_removed_at is not None:
        raise Conflict(
            "file_removed",
            f"the file of import {import_id} was removed at {state.file_removed_at:%Y-%m-%d}, so it cannot go on",
            hint=hint,
        )
    if state.errors_removed_at is not None:
        raise Conflict(
            "errors_removed",
            f"what was found wrong in import {import_id} was removed at {state.errors_removed_at:%Y-%m-%d},"
            " so that it cannot go on without a gap",
            hint=hint,
        )


async def _state(connection: AsyncConnection, tenant: str, import_id: UUID) -> Row[Any]:
    state = await noted.find_state(connection, tenant, import_id)
    if state is None:
        raise NotFound(
            "import_not_found",
            f"there is no import {import_id}",
            hint="the id is what `id` says in the answer to the upload, and in GET /api/v1/imports",
        )
    return state


async def _publish(
    connection: AsyncConnection, bus: Bus, tenant: str, command: ImportCancel | ImportRetry
) -> None:
    await bus.publish(connection, bus.event(command, tenant=tenant, subject=command.import_id))


def _ordered(import_id: UUID, state: Row[Any]) -> Ordered:
    return Ordered(id=import_id, status=state.status, run=state.run, links=links_of(import_id))
