"""What imports tell of suppliers: who they are, and which files they sent."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.suppliers.files import FileStatus, SupplierFile, count_as_imports, note_files
from services.notifier.suppliers.known import make_known
from shared.contracts.datasets import row_errors_in
from shared.contracts.events import AnyEvent, ImportCancelled, ImportCompleted, ImportFailed, ImportUploaded

Ended = ImportCompleted | ImportFailed | ImportCancelled

# Logs what is in quarantine of a tenant's suppliers, which have become known; answers how many events that were.
Release = Callable[[AsyncConnection, str, Sequence[str]], Awaitable[int]]


async def note_imports(
    connection: AsyncConnection, events: Sequence[AnyEvent], *, zone: ZoneInfo, release: Release
) -> None:
    """Make the sources of these imports known, and note their files; events of other types pass.

    For `import.uploaded`, `import.completed`, `import.failed` and `import.cancelled` of any tenants, in any order; to be called
    once for each event, and before investigations are locked.
    """
    files = [file for event in events if (file := file_of(event)) is not None]
    await note_files(connection, files, zone=zone)
    counted = [file for file in files if file.status != "uncounted"]
    for tenant in sorted({file.tenant for file in counted}):
        # That what failed was but a dry run, a processor of the version before does not tell; its upload does.
        sources = {file.supplier for file in counted if file.tenant == tenant and file.status != "failed"}
        if new := await make_known(connection, tenant, {source: source for source in sources}, "import"):
            await release(connection, tenant, new)
    await count_as_imports(connection, [file for file in counted if file.sha256 is not None], zone=zone)


def file_of(event: AnyEvent) -> SupplierFile | None:
    """What an event of an import says of its file; None: nothing, as nobody is said to have sent it."""
    data = event.data
    if not isinstance(data, ImportUploaded | Ended) or not data.source:
        return None
    if isinstance(data, ImportUploaded):
        return _uploaded(event.tenant, data, data.source)
    return _ended(event.tenant, data, data.source)


def _uploaded(tenant: str, data: ImportUploaded, source: str) -> SupplierFile:
    no_file_of_its_own = data.options.dry_run or data.corrects is not None
    return SupplierFile(
        tenant=tenant,
        id=f"import:{data.import_id}",
        supplier=source,
        origin="import",
        occurred_at=data.uploaded_at,
        status="uncounted" if no_file_of_its_own else "received",
        status_at=data.uploaded_at,
        stage="upload",
        import_id=data.import_id,
        dataset=data.dataset,
        path=data.file_name,
        sha256=data.sha256,
        size=data.file_size,
        header=data.header,
    )


def _ended(tenant: str, data: Ended, source: str) -> SupplierFile:
    rejected = row_errors_in(data.dataset, rejected=data.rows_rejected, duplicate=data.rows_duplicate)
    profile = data.profile if isinstance(data, ImportCompleted) else {}
    return SupplierFile(
        tenant=tenant,
        id=f"import:{data.import_id}",
        supplier=source,
        origin="import",
        occurred_at=_begun_at(data),
        status=_status_at_end(data, rejected),
        status_at=data.processing_completed_at,
        stage="process",
        import_id=data.import_id,
        dataset=data.dataset,
        path=data.file_name,
        rows=data.rows_processed,
        rejected=rejected,
        profile={name: column.model_dump() for name, column in profile.items()} or None,
    )


def _begun_at(data: Ended) -> datetime:
    return data.processing_started_at or data.processing_completed_at


def _status_at_end(data: Ended, rejected: int) -> FileStatus:
    if isinstance(data, ImportCancelled) or data.dry_run:
        return "uncounted"
    if isinstance(data, ImportFailed):
        return "failed"
    return "good" if data.rows_processed > rejected else "failed"
