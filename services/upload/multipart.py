"""A multipart/form-data body (RFC 7578) as a stream: fields are kept, the one file flows through."""

from collections import deque
from collections.abc import AsyncIterator
from email.message import Message
from typing import Any

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser

from shared.contracts.problems import Problem, Unprocessable

FIELD_LIMIT_BYTES = 16 * 1024  # all text fields with their names; they are names and options
FORM_LIMIT_BYTES = (
    64 * 1024
)  # all that is not the file: fields, headers, boundaries, what stands before and behind them
FILE_FIELD = "file"
EXTENDED_CHARSETS = frozenset({"utf-8", "iso-8859-1"})  # RFC 8187, section 3.2.1


class FormStream:
    """Reads a form as it arrives. Use in this order: `find_file`, `file_chunks` to its end, `finish`; then `fields`.

    Attributes:
        fields: The text fields seen so far.
        file_name: As the client sent it, None until the file was found.
        file_type: The file's media type as the client sent it, lower case and without parameters.
    """

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        boundary = _parameter(content_type, "boundary")
        if not boundary:
            raise _malformed("the Content-Type header names no boundary")
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.file_type = ""
        self._chunks = chunks
        self._file: deque[bytes] = deque()
        self._file_open = False
        self._file_done = False
        self._field_bytes = 0
        self._file_bytes = 0
        self._form_bytes = 0
        self._headers: dict[str, str] = {}
        self._header_name = self._header_value = b""
        self._field_name: str | None = None
        self._field_value = bytearray()
        self._ended = False
        self._parser = self._parser_for(boundary)

    async def find_file(self) -> None:
        """Read until the file begins.

        Raises:
            Unprocessable: the form is malformed (`form_malformed`) or has no file (`file_missing`).
        """
        while not self._file_open:
            if not await self._more():
                raise Unprocessable(
                    "file_missing",
                    f"the form has no file in a field named {FILE_FIELD!r}",
                    hint="send the file as multipart field `file`, for example: curl -F file=@books.csv -F dataset=books",
                )

    async def file_chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, as they arrive."""
        while True:
            while self._file:
                yield self._file.popleft()
            if self._file_done:
                return
            if not await self._more():
                raise _malformed("the body ends in the middle of the file")

    async def finish(self) -> None:
        """Read what follows the file."""
        while await self._more():
            pass
        if not self._ended:
            raise _malformed("the body ends without its closing boundary")

    @property
    def has_ended(self) -> bool:
        """Whether all of the form was read, so that `fields` are all there are."""
        return self._ended

    def _parser_for(self, boundary: str) -> MultipartParser:
        try:
            return MultipartParser(
                boundary.encode("ascii"),
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except (UnicodeEncodeError, FormParserError) as error:
            raise _malformed("the boundary is too long or not ASCII (RFC 2046, section 5.1.1)") from error

    async def _more(self) -> bool:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return False
        before = self._file_bytes
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise _malformed(str(error)) from error
        self._form_bytes += len(chunk) - (self._file_bytes - before)
        if self._form_bytes > FORM_LIMIT_BYTES:
            raise _malformed(f"it has more than {FORM_LIMIT_BYTES} bytes that are not the file")
        return True

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._field_name = None
        self._field_value.clear()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode(
            "utf-8", "replace"
        )
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get("content-disposition", "")
        name = _parameter(disposition, "name")
        if name == FILE_FIELD:
            if self._file_open:
                raise Unprocessable(
                    "file_repeated", "the form has more than one file", hint="send one file a request"
                )
            self._file_open = True
            self.file_name = _parameter(disposition, "filename") or ""
            self.file_type = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        elif name is None:
            raise _malformed("a part has no name")
        else:
            self._count(len(name.encode()))
            self._field_name = name

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field_name is None:
            self._file.append(data[start:end])
            self._file_bytes += end - start
            return
        self._count(end - start)
        self._field_value += data[start:end]

    def _on_part_end(self) -> None:
        if self._field_name is None:
            self._file_done = True
            return
        if self._field_name in self.fields:
            raise Unprocessable(
                "field_repeated", f"the form has the field {self._field_name!r} more than once"
            )
        self.fields[self._field_name] = self._field_value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True

    def _count(self, length: int) -> None:
        self._field_bytes += length
        if self._field_bytes > FIELD_LIMIT_BYTES:
            raise Unprocessable(
                "fields_too_large", f"the form's text fields exceed {FIELD_LIMIT_BYTES} bytes"
            )


def _parameter(header: str, name: str) -> str | None:
    """A parameter of a header; its extended form goes before the plain one (RFC 6266, section 4.3)."""
    message = Message()
    message["content-type"] = header
    try:
        parameters: list[tuple[str, Any]] = message.get_params(failobj=[])
    except (TypeError, ValueError) as error:  # which is how it fails at parameters that contradict each other
        raise _malformed(f"the parameters of a header: {error}") from error
    values = [value for key, value in parameters if key.lower() == name]
    for value in values:
        if isinstance(value, tuple):
            return _decoded(*value)
    return str(values[0]) if values else None


def _decoded(charset: str | None, _language: str | None, text: str) -> str:
    """An extended value (RFC 8187), of which `email` has undone the percent signs, one character a byte."""
    known = (charset or "").lower() in EXTENDED_CHARSETS
    return text.encode("latin-1", "replace").decode(charset if charset and known else "latin-1", "replace")


def _malformed(reason: str) -> Problem:
    return Unprocessable("form_malformed", f"the multipart body cannot be read: {reason}")
