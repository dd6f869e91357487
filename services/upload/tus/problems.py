"""What only a resumable upload is told: statuses that tus asks for, beside those of all services.

Clients take 409 and 423 for "look where the upload stands, and go on", and send all again what is 410 or 404. So these
are said only where that is what they should do.
"""

from services.upload.tus.protocol import VERSION
from shared.contracts.problems import Conflict, NotFound, Problem


class VersionUnsupported(Problem):
    status = 412
    title = "Precondition failed"

    def __init__(self) -> None:
        super().__init__(
            "tus_version_unsupported",
            "the request does not say that it speaks tus 1.0.0",
            hint=f"send the header Tus-Resumable: {VERSION}",
        )
        self.answered_with({"Tus-Version": VERSION})


class Final(Problem):
    status = 403
    title = "Not allowed"

    def __init__(self) -> None:
        super().__init__(
            "upload_is_final",
            "this upload was made of others by Upload-Concat: final, so nothing can be sent to it",
            hint="send the bytes to its parts before they are put together",
        )


class Gone(Problem):
    """Nothing can be sent to it any more: the client begins anew."""

    status = 410
    title = "Gone"

    def __init__(self, detail: str) -> None:
        super().__init__("upload_gone", detail, hint="create a new upload and send the file to that one")


class ChecksumMismatch(Problem):
    status = 460
    title = "Checksum mismatch"

    def __init__(self, algorithm: str) -> None:
        super().__init__(
            "checksum_mismatch",
            f"the {algorithm} of what arrived is not the one in Upload-Checksum; nothing of it was kept",
            hint="send the same bytes again, from the same offset",
        )


def upload_not_found(upload_id: object) -> NotFound:
    return NotFound(
        "upload_not_found",
        f"there is no resumable upload {upload_id}",
        hint="it was removed, or has expired, or never was; create a new one",
    )


def taken_over() -> Conflict:
    return Conflict(
        "upload_taken_over",
        "another request writes to this upload now; what arrived of this one until then was kept",
        hint="ask by HEAD where the upload stands, and go on from there",
    )
