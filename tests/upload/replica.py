"""One process of the service, as far as resumable uploads are concerned; a test says when it does what."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.upload.admission import Admission
from services.upload.intake import Intake
from services.upload.limits import Limits, Sizes
from services.upload.places import places_for_uploads
from services.upload.tus.creation import Creation, wanted_in
from services.upload.tus.finish import Finisher
from services.upload.tus.parts import Parts
from services.upload.tus.sweep import sweep
from services.upload.tus.writing import Piece, Writing
from shared.contracts.events import UploadFinish, event_of
from shared.platform.auth import Principal
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.objects import Objects
from shared.platform.service import Stopping
from tests.upload.resumable import metadata, trickle

ACME = Principal("somebody", "acme", frozenset({"imports:write"}))
LIMITS = Limits(10_000, 10_000, Sizes(1024**3, {}))
DAY = timedelta(days=1)


class Replica:
    def __init__(self, environment: dict[str, str]) -> None:
        url = environment["PENSTOCK_DATABASE_URL"]
        self.engine = engine_for(url, "upload", pool_size=4)
        self.bus = Bus("upload", database_url=url)
        self.objects = Objects(environment["PENSTOCK_STORE_URL"])
        self.stopping = Stopping()
        self.admission = Admission(self.engine, owner=self.owner, defaults=LIMITS)
        self.intake = Intake(
            self.engine, self.bus, self.objects, self.admission, places_for_uploads(), max_ratio=200
        )
        self.creation = Creation(self.engine, self.bus, self.admission, expires_after=DAY)
        self.parts = Parts(
            self.engine, self.bus, self.objects, places_for_uploads(), self.stopping, expires_after=DAY
        )
        self.writing = Writing(self.engine, self.objects, self.parts, expires_after=DAY)
        self.finisher = Finisher(self.engine, self.objects, self.intake, self.admission)

    @property
    def owner(self) -> int:
        return self.bus.presence.instance

    async def create(self, length: int | None, concat: str | None = None, **said: str) -> UUID:
        headers = {"upload-length": str(length)} if length is not None else {"upload-defer-length": "1"}
        if concat is not None:
            headers["upload-concat"] = concat
        if concat is not None and concat.startswith("final"):
            headers.pop("upload-defer-length")
        if concat != "partial":
            headers["upload-metadata"] = metadata(**{"filename": "books.csv", "dataset": "books"} | said)
        upload, _ = await self.creation.create(ACME, wanted_in(headers, []))
        return upload.id

    async def append(
        self, upload_id: UUID, offset: int, content: bytes | AsyncIterator[bytes], **said: Any
    ) -> Any:
        body = trickle(content, 64 * 1024) if isinstance(content, bytes) else content
        return await self.writing.append(ACME, upload_id, Piece(offset, None, **said), body)

    async def whole(self, content: bytes, **said: str) -> UUID:
        """An upload with all its bytes, which waits to be checked."""
        upload_id = await self.create(len(content), **said)
        await self.append(upload_id, 0, content)
        return upload_id

    async def finish(self, upload_id: UUID) -> None:
        await self.finisher.finish(self.command(upload_id))

    @staticmethod
    def command(upload_id: UUID) -> Any:
        return event_of(UploadFinish(upload_id=upload_id), tenant="acme", subject=upload_id, service="upload")

    async def sweep(self) -> None:
        await sweep(self.engine, self.objects)

    async def die(self) -> None:
        """What others see of a process that was killed."""
        await self.bus.presence.stop()


@asynccontextmanager
async def replicas(environment: dict[str, str], count: int) -> AsyncIterator[list[Replica]]:
    """Processes on one database and one store, none of which consumes."""
    running = [Replica(environment) for _ in range(count)]
    for replica in running:
        await replica.bus.presence.start([])
    try:
        yield running
    finally:
        for replica in running:
            await replica.die()
            await replica.engine.dispose()
