"""The end of an upload: the file that its parts are goes through the intake, and is an import, or is refused.

Any process may do it, and be killed at any step: the command comes again, a dead process's work is done anew, and only one
can register the import, as that is one transaction with the upload's end.
"""

from collections.abc import Sequence
from time import monotonic
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.upload.admission import Admission
from services.upload.intake import Intake
from services.upload.repository_admission import release_slot
from services.upload.tus import repository
from services.upload.tus.parts import TusFile, remove_needless
from services.upload.tus.repository import Part, TakenOver, TusUpload
from shared.contracts.events import AnyEvent, Event, UploadFinish
from shared.contracts.problems import Problem, TooManyRequests, Unavailable
from shared.platform.auth import Principal
from shared.platform.bus import Later
from shared.platform.logs import get_logger
from shared.platform.objects import Objects
from shared.platform.service import Stopping
from shared.platform.tenancy import tenant_reading

BUSY_SECONDS = 2.0  # until the next look at a check that somebody else has in hand
PATIENCE_SECONDS = (
    20.0  # for the outcome, that the request with the last byte can tell it; proxies wait 30 and more
)
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.05, 0.2

log = get_logger(__name__)


class Finisher:
    """Checks uploads whose bytes are all there. `admission.owner` is the process's lock key."""

    def __init__(self, engine: AsyncEngine, objects: Objects, intake: Intake, admission: Admission) -> None:
        self._engine = engine
        self._objects = objects
        self._intake = intake
        self._admission = admission

    async def finish(self, event: Event[UploadFinish]) -> None:
        """Make an import of the upload, or refuse it.

        Raises:
            Later: somebody has it in hand, or something of ours is away.
        """
        try:
            claimed = await self._claim(event.tenant, event.data.upload_id)
            if claimed is not None:
                await self._check(*claimed)
        except TakenOver as error:
            raise Later(BUSY_SECONDS) from error
        await self._tidy()

    async def give_up(self, event: AnyEvent, error: BaseException) -> None:
        """Refuse an upload that could not be checked, however often it was tried."""
        assert isinstance(event.data, UploadFinish)
        claimed = await self._claim(event.tenant, event.data.upload_id)
        if claimed is not None:
            log.error("tus.given_up", upload_id=str(event.data.upload_id), error=repr(error))
            await self._refuse(claimed[0], _not_checked())

    async def _claim(self, tenant: str, upload_id: UUID) -> tuple[TusUpload, Sequence[Part]] | None:
        async with self._engine.begin() as connection:
            upload = await repository.claim_finish(connection, tenant, upload_id, self._admission.owner)
            return None if upload is None else (upload, await repository.parts_of(connection, upload))

    async def _check(self, upload: TusUpload, parts: Sequence[Part]) -> None:
        async def accept(connection: AsyncConnection) -> None:
            await repository.accept(connection, upload, self._admission.owner)

        caller = Principal(upload.subject, upload.tenant, frozenset())
        try:
            entry = await self._admission.enter_again(caller, upload.id)
            file = TusFile(upload, parts, self._objects)
            await self._intake.receive(entry, file, upload.length, within=accept)
        except (Unavailable, TooManyRequests) as problem:
            raise Later(problem.retry_after) from problem
        except Problem as problem:
            await self._refuse(upload, problem)

    async def _tidy(self) -> None:
        try:
            await remove_needless(self._engine, self._objects)
        except Exception as error:  # noqa: BLE001 - the outcome is what counts, and the sweep does it
            log.warning("tus.parts_not_removed", error=repr(error))

    async def _refuse(self, upload: TusUpload, problem: Problem) -> None:
        async with self._engine.begin() as connection:
            await repository.refuse(connection, upload, self._admission.owner, problem.document())
            if upload.slot is not None:
                await release_slot(connection, upload.tenant, upload.slot)
        log.info("tus.refused", upload_id=str(upload.id), code=problem.code)


async def outcome(engine: AsyncEngine, tenant: str, upload_id: UUID, stopping: Stopping) -> TusUpload | None:
    """The upload when it has been checked; as it is when that takes too long, or the process stops."""
    until = monotonic() + PATIENCE_SECONDS
    pause = FIRST_LOOK_SECONDS
    while True:
        async with tenant_reading(engine, tenant) as connection:
            upload = await repository.find(connection, tenant, upload_id)
        is_over = upload is None or upload.state != "checking"
        if is_over or monotonic() > until or await stopping.wait(pause):
            return upload
        pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)


def _not_checked() -> Problem:
    return Unavailable(
        "upload_not_checked",
        "the file could not be checked because of an error on our side; it has been logged",
        hint="upload the file again",
    )
