"""New uploads: what they are to be is checked before the first byte is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.upload.admission import Admission
from services.upload.blocks import file_too_large
from services.upload.corrections import with_dataset
from services.upload.fields import asked_in
from services.upload.inspection import dataset_named
from services.upload.names import check_extension
from services.upload.repository_admission import release_slot
from services.upload.tus import repository
from services.upload.tus.problems import upload_not_found
from services.upload.tus.protocol import Concat, HeaderInvalid, Headers, concat_of, length_of_new, metadata_of
from services.upload.tus.repository import TusUpload
from shared.contracts.events import UploadFinish
from shared.contracts.problems import TooManyRequests, Unprocessable
from shared.platform.auth import Principal
from shared.platform.bus import Bus

MAX_OPEN_PARTIALS = 200  # of a tenant; they wait to be put together, and count as uploads only then
RETRY_PARTIALS_SECONDS = 60

_NAMES = ("filename", "name", "file_name")
_IGNORED = frozenset({"filetype", "type", "relativePath"})  # what browser clients say of any file


@dataclass(frozen=True)
class Wanted:
    """The upload that a request wants.

    Attributes:
        length: In bytes; None: it is not known yet, or of a final not said.
        fields: As of an upload form, with `dataset` or `corrects`; of a partial none.
        metadata: `Upload-Metadata` as it came.
        concat_header: `Upload-Concat` as it came.
    """

    concat: Concat
    length: int | None
    file_name: str
    fields: Mapping[str, str]
    metadata: str | None
    concat_header: str | None


def wanted_in(headers: Headers, query: Sequence[tuple[str, str]]) -> Wanted:
    """What a request to create an upload wants; of a file by itself or a final all is known to be possible.

    Raises:
        Problem: `tus_header_invalid`, or what an upload form would be told of its fields and its file's name.
    """
    concat = concat_of(headers)
    pairs = metadata_of(headers)
    if concat.kind != "final":
        length = length_of_new(headers)
    elif "upload-length" in headers or "upload-defer-length" in headers:
        raise HeaderInvalid("Upload-Length", "a final upload is as long as its parts; it cannot be said")
    else:
        length = None
    file_name, fields = "", dict[str, str]()
    if concat.kind != "partial":
        file_name, fields = _said_in(pairs, query)
        asked = asked_in(fields)
        if asked.dataset is not None or asked.corrects is None:
            dataset_named(asked.dataset)
        check_extension(file_name)
    return Wanted(
        concat, length, file_name, fields, headers.get("upload-metadata"), headers.get("upload-concat")
    )


def _said_in(pairs: Mapping[str, str], query: Sequence[tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """The file's name, and the fields, from metadata and query together."""
    names = [name for name, _ in query] + list(pairs)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Unprocessable("field_repeated", f"the request has {', '.join(twice)} more than once")
    said = {**dict(query), **pairs}
    if with_nul := sorted(name for name, value in said.items() if "\0" in value):
        raise Unprocessable(
            "field_invalid", f"{', '.join(with_nul)} has the character U+0000", hint="leave it out"
        )
    file_name = next((said[name] for name in _NAMES if said.get(name)), "")
    return file_name, {
        name: value for name, value in said.items() if name not in _IGNORED and name not in _NAMES
    }


class Creation:
    """Creates uploads."""

    def __init__(
        self, engine: AsyncEngine, bus: Bus, admission: Admission, *, expires_after: timedelta
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._admission = admission
        self._expires_after = expires_after

    async def create(self, caller: Principal, wanted: Wanted) -> tuple[TusUpload, Mapping[str, str]]:
        """The new upload, and headers for the response. One that needs no byte more is about to be checked.

        Raises:
            NotFound: `upload_not_found`: one that a final is to be made of.
            TooLarge: `file_too_large`.
            Unprocessable: `partials_unfit`, or what an upload form would be told of the import that it is to correct.
            TooManyRequests: the tenant's limits are used up.
        """
        slot: datetime | None = None
        headers: Mapping[str, str] = {}
        async with self._engine.begin() as connection:
            limits = await self._admission.limits_of(connection, caller.tenant)
            asked = await with_dataset(connection, caller.tenant, asked_in(wanted.fields))
            limit = limits.sizes.limit(asked.dataset)
            _check_size(wanted.length, limit)
            if wanted.concat.kind == "partial":
                await _check_partials_open(connection, caller.tenant)
            else:
                slot, headers = await self._admission.admit(connection, caller.tenant, limits)
            upload = await self._add(connection, caller, wanted, limit, slot)
            if upload.state == "checking":
                event = self._bus.event(
                    UploadFinish(upload_id=upload.id), tenant=caller.tenant, subject=upload.id
                )
                await self._bus.publish(connection, event)
        return upload, headers

    async def take_back(self, upload: TusUpload) -> None:
        """Let a creation whose first bytes were refused not count."""
        if upload.slot is not None:
            async with self._engine.begin() as connection:
                await release_slot(connection, upload.tenant, upload.slot)

    async def _add(
        self,
        connection: AsyncConnection,
        caller: Principal,
        wanted: Wanted,
        limit: int,
        slot: datetime | None,
    ) -> TusUpload:
        length, partials = wanted.length, wanted.concat.partials
        if partials:
            length = await _joint_length(connection, caller.tenant, partials)
            _check_size(length, limit)
        is_whole = wanted.concat.kind != "partial" and (bool(partials) or length == 0)
        values: dict[str, Any] = {
            "id": uuid4(),
            "tenant": caller.tenant,
            "subject": caller.subject,
            "kind": wanted.concat.kind,
            "concat": wanted.concat_header,
            "metadata": wanted.metadata,
            "file_name": wanted.file_name,
            "fields": dict(wanted.fields),
            "length": length,
            "max_bytes": limit,
            "slot": slot,
            "received": length if partials else 0,
            "state": "checking" if is_whole else "receiving",
        }
        return await repository.add(connection, values, expires_after=self._expires_after, partials=partials)


async def _check_partials_open(connection: AsyncConnection, tenant: str) -> None:
    if await repository.count_partials(connection, tenant) >= MAX_OPEN_PARTIALS:
        raise TooManyRequests(
            "too_many_partials",
            f"{MAX_OPEN_PARTIALS} partial uploads of this tenant wait to be put together, which is all that may",
            hint="put them together with Upload-Concat: final, or remove some by DELETE",
            retry_after=RETRY_PARTIALS_SECONDS,
        )


async def _joint_length(connection: AsyncConnection, tenant: str, ids: Sequence[UUID]) -> int:
    found = await repository.lock_partials(connection, tenant, set(ids))
    for each in ids:
        partial = found.get(each)
        if partial is None or partial.expired:
            raise upload_not_found(each)
        if partial.kind != "partial" or partial.received != partial.length:
            fault = "is not a partial upload" if partial.kind != "partial" else "is not complete"
            raise Unprocessable(
                "partials_unfit",
                f"the upload {each} {fault}",
                hint="put uploads together that were created with Upload-Concat: partial, when all their bytes are there",
            )
    return sum(found[each].length for each in ids)


def _check_size(length: int | None, limit: int) -> None:
    if length is not None and length > limit:
        raise file_too_large(limit)
