"""What tus 1.0 says in headers, read and written. Pure.

Source of every rule: "tus resumable upload protocol" 1.0.0 (2016-03-25); where a section is meant it is named.
"""

import hashlib
import hmac
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal
from uuid import UUID

from shared.contracts.problems import Problem

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
MEDIA_TYPE = "application/offset+octet-stream"
MAX_PARTIALS = 200

# "The Server MUST support at least sha1" (Checksum).
ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}
_BYTES = re.compile("[0-9]{1,18}")  # below 2^63 whatever the digits
_OURS = re.compile(r"(?:(?:https?://[^/\s]+)?(?:/[^\s?#]*)?/tus/|(?:tus/)?)(?P<id>[0-9A-Fa-f-]{36})/?")

Headers = Mapping[str, str]  # by name, whatever its case
Kind = Literal["whole", "partial", "final"]


class HeaderInvalid(Problem):
    """A header of tus is missing, or is not what it must be."""

    def __init__(self, name: str, detail: str, *, hint: str | None = None) -> None:
        super().__init__("tus_header_invalid", f"{name}: {detail}", hint=hint, header=name)


@dataclass(frozen=True)
class Concat:
    """What an upload is to be: a file by itself, a piece of one, or the file that pieces make up.

    Attributes:
        partials: Of a final: the uploads that it is made of, in order.
    """

    kind: Kind = "whole"
    partials: tuple[UUID, ...] = ()


class Checksum:
    """The digest that a request's body must have. Feed it the body, then ask whether it `matches`."""

    def __init__(self, algorithm: str, expected: bytes) -> None:
        self.algorithm = algorithm
        self._expected = expected
        self._hash = ALGORITHMS[algorithm]()

    def feed(self, chunk: bytes) -> None:
        self._hash.update(chunk)

    def matches(self) -> bool:
        return hmac.compare_digest(self._hash.digest(), self._expected)


def effective_method(method: str, headers: Headers) -> str:
    """The method that the request means: `X-HTTP-Method-Override` counts more than the actual one."""
    return headers.get("x-http-method-override", method).strip().upper()


def offset_of(headers: Headers) -> int:
    """Where a PATCH begins, in bytes.

    Raises:
        HeaderInvalid: it does not say so.
    """
    return _bytes_in("Upload-Offset", headers.get("upload-offset"))


def length_of(headers: Headers) -> int | None:
    """The length of the whole upload, in bytes, if the request tells it.

    Raises:
        HeaderInvalid: it is no number of bytes.
    """
    value = headers.get("upload-length")
    return None if value is None else _bytes_in("Upload-Length", value)


def length_of_new(headers: Headers) -> int | None:
    """The length of an upload that is to be created; None: it comes later.

    Raises:
        HeaderInvalid: neither is said, or both are.
    """
    length, deferred = length_of(headers), headers.get("upload-defer-length")
    if deferred is not None and deferred.strip() != "1":
        raise HeaderInvalid("Upload-Defer-Length", f"it can only be 1, not {deferred!r}")
    if (length is None) == (deferred is None):
        raise HeaderInvalid(
            "Upload-Length",
            "an upload is created either with its length or with Upload-Defer-Length",
            hint="send the file's size in bytes as Upload-Length; if it is not known yet, Upload-Defer-Length: 1",
        )
    return length


def body_length_of(headers: Headers) -> int | None:
    """How many bytes the request brings; None: it does not tell before its end."""
    if "transfer-encoding" in headers:
        return None
    value = headers.get("content-length", "0")
    return int(value) if _BYTES.fullmatch(value) else None


def metadata_of(headers: Headers) -> dict[str, str]:
    """The keys and values of `Upload-Metadata`, decoded.

    Raises:
        HeaderInvalid: it is not a list of keys with Base64 values, a key comes twice, or a value is no text.
    """
    header = headers.get("upload-metadata", "").strip()
    pairs: dict[str, str] = {}
    for pair in header.split(",") if header else ():
        key, _, value = pair.strip().partition(" ")
        if not key:
            raise HeaderInvalid("Upload-Metadata", "a key is empty", hint=_METADATA_HINT)
        if not (key.isascii() and key.isprintable()):
            raise HeaderInvalid(
                "Upload-Metadata", "a key has characters that are not ASCII", hint=_METADATA_HINT
            )
        if key in pairs:
            raise HeaderInvalid("Upload-Metadata", f"the key {key!r} comes twice", hint=_METADATA_HINT)
        pairs[key] = _text_of(key, value.strip())
    return pairs


def concat_of(headers: Headers) -> Concat:
    """What `Upload-Concat` asks for.

    Raises:
        HeaderInvalid: it is neither `partial` nor `final;` with URLs of uploads.
    """
    value = headers.get("upload-concat")
    if value is None:
        return Concat()
    value = value.strip()
    if value == "partial":
        return Concat("partial")
    kind, semicolon, urls = value.partition(";")
    if kind.strip() != "final" or not semicolon or not urls.split():
        raise HeaderInvalid(
            "Upload-Concat",
            "it can be `partial`, or `final;` and the URLs of the parts with blanks between them",
        )
    partials = tuple(_upload_at(url) for url in urls.split())
    if len(partials) > MAX_PARTIALS:
        raise HeaderInvalid("Upload-Concat", f"{len(partials)} parts are more than {MAX_PARTIALS}")
    return Concat("final", partials)


def checksum_of(headers: Headers) -> Checksum | None:
    """What `Upload-Checksum` expects of the body.

    Raises:
        HeaderInvalid: the algorithm is not supported, or the value cannot be its digest.
    """
    value = headers.get("upload-checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise HeaderInvalid(
            "Upload-Checksum",
            f"the algorithm {algorithm!r} is not supported",
            hint=f"send one of {', '.join(ALGORITHMS)}, a blank, and the digest in Base64",
        )
    expected = _decoded("Upload-Checksum", encoded.strip())
    if len(expected) != ALGORITHMS[algorithm]().digest_size:
        raise HeaderInvalid("Upload-Checksum", f"{len(expected)} bytes are no {algorithm}")
    return Checksum(algorithm, expected)


def http_date(moment: datetime) -> str:
    """RFC 9110, section 5.6.7, as `Upload-Expires` has it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


_METADATA_HINT = (
    "send `key value` pairs with commas between them, each value in Base64, as in: dataset Ym9va3M="
)


def _bytes_in(name: str, value: str | None) -> int:
    if value is None:
        raise HeaderInvalid(name, "the header is missing", hint="send a number of bytes")
    if not _BYTES.fullmatch(value.strip()):
        raise HeaderInvalid(name, f"{value!r} is no number of bytes", hint="send digits only")
    return int(value)


def _text_of(key: str, encoded: str) -> str:
    try:
        text = _decoded("Upload-Metadata", encoded).decode()
    except UnicodeDecodeError as error:
        raise HeaderInvalid("Upload-Metadata", f"the value of {key!r} is not UTF-8") from error
    if "\0" in text:
        raise HeaderInvalid("Upload-Metadata", f"the value of {key!r} has a NUL character in it")
    return text


def _decoded(name: str, encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (NotBase64, ValueError) as error:
        raise HeaderInvalid(name, f"{encoded[:80]!r} is not Base64") from error


def _upload_at(url: str) -> UUID:
    found = _OURS.fullmatch(url)
    try:
        return UUID(found["id"] if found else "")
    except ValueError as error:
        raise HeaderInvalid("Upload-Concat", f"{url[:200]!r} is no URL of an upload") from error
