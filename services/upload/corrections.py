"""Which import a file corrects: whether it can, and that it is of the same dataset."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload import repository_admission as noted
from services.upload.fields import Asked
from shared.contracts.options import ImportOptions
from shared.contracts.problems import Conflict, Unprocessable


async def with_dataset(connection: AsyncConnection, tenant: str, asked: Asked) -> Asked:
    """What is asked, with the dataset of the import that the file corrects, if it corrects one.

    Raises:
        Unprocessable: `corrects_unknown`, `corrects_other_dataset`, `corrects_nothing_loaded`.
        Conflict: `corrects_not_ended`, `errors_removed`.
    """
    if asked.corrects is None:
        return asked
    state = await noted.find_state(connection, tenant, asked.corrects)
    if state is None:
        raise Unprocessable(
            "corrects_unknown",
            f"there is no import {asked.corrects} to correct",
            hint="the id is what `id` says in the answer to the upload, and in GET /api/v1/imports",
        )
    if asked.dataset not in {None, state.dataset}:
        raise Unprocessable(
            "corrects_other_dataset",
            f"import {asked.corrects} is of the dataset {state.dataset}; a file of {asked.dataset} cannot correct it",
            hint=f"leave `dataset` out, or send {state.dataset}",
        )
    if state.status in {"pending", "processing"}:
        raise Conflict(
            "corrects_not_ended",
            f"import {asked.corrects} is {state.status}; not all of its row errors are known yet",
            hint="wait until it has ended, download its errors.csv, and correct that",
            import_status=state.status,
        )
    if state.errors_removed_at is not None:
        raise Conflict(
            "errors_removed",
            f"which records of import {asked.corrects} had row errors was removed at {state.errors_removed_at:%Y-%m-%d}",
            hint="upload the mended records without `corrects`",
        )
    _check_loaded(asked.corrects, state.status, ImportOptions.model_validate(state.options))
    return replace(asked, dataset=state.dataset)


def _check_loaded(import_id: UUID, status: str, options: ImportOptions) -> None:
    if options.dry_run:
        reason = "was a dry run"
    elif options.all_at_once and status != "completed":
        reason = f"is {status}, and was to be loaded as a whole or not at all"
    else:
        return
    raise Unprocessable(
        "corrects_nothing_loaded",
        f"import {import_id} {reason}: nothing of it was loaded, so its right records are missing too",
        hint="correct the whole file and upload it without `corrects`",
    )
