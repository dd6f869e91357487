"""What a resumable upload answers, in headers and as JSON. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.resources import links_of
from services.upload.tus.protocol import ALGORITHMS, EXTENSIONS, VERSION, http_date

PATH = "/api/v1/tus"


class ResumableUpload(BaseModel):
    """How a resumable upload stands."""

    id: UUID = Field(description="Also that of the import that it becomes")
    state: Literal["receiving", "checking", "accepted", "refused"] = Field(
        description="`accepted`: it is an import, see `links`; `refused`: see `problem`"
    )
    kind: Literal["whole", "partial", "final"] = Field(
        description="A file, a piece of one, or one made of pieces"
    )
    file_name: str
    offset: int = Field(description="Bytes that have arrived")
    length: int | None = Field(description="Bytes of the whole file; null while that is not known")
    expires_at: datetime = Field(description="Until then it can be resumed, or looked at; an import stays")
    links: dict[str, str] | None = Field(None, description="The import's")
    problem: dict[str, Any] | None = Field(None, description="Why it was refused: problem details (RFC 9457)")


def resource_of(upload: Any) -> ResumableUpload:
    """A row of upload.tus_uploads, as JSON."""
    return ResumableUpload(
        id=upload.id,
        state=upload.state,
        kind=upload.kind,
        file_name=upload.file_name,
        offset=upload.received,
        length=upload.length,
        expires_at=upload.expires_at,
        links=links_of(upload.id) if upload.state == "accepted" else None,
        problem=upload.problem,
    )


def created_headers(upload: Any) -> dict[str, str]:
    """Of the response to a creation."""
    return {"Location": f"{PATH}/{upload.id}", **progress_headers(upload)}


def progress_headers(upload: Any) -> dict[str, str]:
    """How far it is; and once it is one, where the import is."""
    headers = {"Upload-Offset": str(upload.received), "Upload-Expires": http_date(upload.expires_at)}
    if upload.state == "accepted":
        headers["Penstock-Import"] = links_of(upload.id)["self"]
    return headers


def head_headers(upload: Any) -> dict[str, str]:
    """Of the response to HEAD: all that a client needs to go on."""
    headers = {"Cache-Control": "no-store", **progress_headers(upload)}
    if upload.length is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(upload.length)
    if upload.metadata:
        headers["Upload-Metadata"] = upload.metadata
    if upload.concat:
        headers["Upload-Concat"] = upload.concat
    return headers


def server_headers(max_bytes: int) -> dict[str, str]:
    """What the server can do."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(max_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def refusal(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The problem document of a refused upload, as the request that brought its last byte is answered.

    409 and 423 would tell a tus client to look where the upload stands and go on, which means to send the whole file
    again; so these are said as 422.
    """
    return {**problem, "status": 422 if problem["status"] in {409, 423} else problem["status"]}
