"""The two forms in which a file comes: in a multipart form, or bare."""

from collections.abc import AsyncIterator

from fastapi import Request

from services.upload.intake import Upload
from services.upload.multipart import FORM_LIMIT_BYTES, FormStream
from services.upload.names import check_extension
from shared.contracts.problems import Unprocessable, UnsupportedMedia

RAW_TYPES = frozenset(
    {
        "text/csv",
        "text/x-csv",
        "application/csv",
        "application/x-csv",
        "text/plain",
        "text/tab-separated-values",
        "application/vnd.ms-excel",  # what Windows calls a CSV file where Excel is installed
        "application/gzip",
        "application/x-gzip",
    }
)
# Of the file in a form: some clients do not know it, and say so.
PART_TYPES = RAW_TYPES | {"", "application/octet-stream", "application/x-compressed", "binary/octet-stream"}


def declared_bytes(request: Request) -> int:
    """How large the file is at least, as the request's headers tell; 0: they do not."""
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() and len(length) < 30 else 0
    return max(declared - FORM_LIMIT_BYTES, 0) if _media_type(request) == "multipart/form-data" else declared


async def upload_of(request: Request, body: AsyncIterator[bytes]) -> Upload:
    """What the request brings; a form is read until its file begins.

    Raises:
        UnsupportedMedia: `media_type_unsupported`, `content_encoding_unsupported`, `extension_unsupported`.
        Unprocessable: the form is no good, or a field comes twice.
    """
    media_type = _media_type(request)
    query = _query_of(request)
    if media_type == "multipart/form-data":
        _check_encoding(request, {"", "identity"})
        form = FormStream(request.headers["content-type"], body)
        await form.find_file()
        check_extension(form.file_name or query.get("file_name", ""))
        if form.file_type not in PART_TYPES:
            raise _unsupported(f"the file in the form is of type {form.file_type!r}")
        return FormUpload(form, query)
    if media_type in RAW_TYPES:
        # gzip or not, the bytes themselves tell.
        _check_encoding(request, {"", "identity", "gzip", "x-gzip"})
        check_extension(query.get("file_name", ""))
        return RawUpload(query, body)
    raise _unsupported(f"the body is of type {media_type or 'unknown'!r}")


class FormUpload(Upload):
    """A multipart form with the file in it. Query parameters count as fields before the file."""

    def __init__(self, form: FormStream, query: dict[str, str]) -> None:
        named = query.pop("file_name", "")
        self.file_name = form.file_name or named
        self.fields_are_complete = form.has_ended
        self._form = form
        self._query = query
        self._early = self._joined()

    def chunks(self) -> AsyncIterator[bytes]:
        return self._form.file_chunks()

    def early_fields(self) -> dict[str, str]:
        return self._early

    async def fields(self) -> dict[str, str]:
        await self._form.finish()
        return self._joined()

    def _joined(self) -> dict[str, str]:
        if twice := sorted(set(self._query) & set(self._form.fields)):
            raise _repeated(twice)
        return self._query | self._form.fields


class RawUpload(Upload):
    """The bare file as body, the fields as query parameters."""

    fields_are_complete = True

    def __init__(self, query: dict[str, str], body: AsyncIterator[bytes]) -> None:
        self.file_name = query.pop("file_name", "")
        self._query = query
        self._body = body

    def chunks(self) -> AsyncIterator[bytes]:
        return self._body

    def early_fields(self) -> dict[str, str]:
        return self._query

    async def fields(self) -> dict[str, str]:
        return self._query


def _query_of(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    query = dict(pairs)
    if len(query) < len(pairs):
        names = [name for name, _ in pairs]
        raise _repeated(sorted({name for name in names if names.count(name) > 1}))
    return query


def _repeated(names: list[str]) -> Unprocessable:
    return Unprocessable("field_repeated", f"the request has {', '.join(names)} more than once")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(what: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        "media_type_unsupported",
        f"{what}, which cannot be taken",
        hint="send multipart/form-data with the file in a field `file`, or the bare file, as text/csv or application/gzip",
    )


def _check_encoding(request: Request, known: set[str]) -> None:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in known:
        raise UnsupportedMedia(
            "content_encoding_unsupported",
            f"cannot take a body with Content-Encoding {encoding!r}",
            hint="send the file as it is, or compressed with gzip",
        )
