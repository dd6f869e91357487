"""Headers that an endpoint's owner adds to attempts: which there may be, and how they are shown. Pure.

Names are compared ignoring case (RFC 9110, section 5.1), and kept as they came.
"""

import re
from collections.abc import Mapping

from shared.contracts.problems import Unprocessable

MAX_HEADERS = 20
MAX_BYTES = 8 * 1024  # of names and values; servers take 16 KiB of head (Node) to 32 (nginx) as they come
MASK = "********"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, section 5.6.2
# RFC 9110, section 5.5: beyond ASCII each server reads the same bytes in its own way.
_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?")

_OURS = re.compile(r"(content|webhook)-.*|host|user-agent|accept-encoding")
# RFC 9110, sections 7.6.1 and 10.1.1, and what older specifications and practice add to it.
_HOP_BY_HOP = re.compile(
    r"connection|expect|(proxy|http2)-.*|keep-alive|te|trailer|transfer-encoding|upgrade"
)
_SECRET = re.compile(
    r"authori[sz]ation|cookie|credential|key|pass(word|wd|phrase)|secret|session|signature|token|(^|[-_])auth([-_]|$)"
)


def merged(present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`present` after `changes`, a JSON merge patch (RFC 7396): None removes a header; the mask leaves its value.

    Raises:
        Unprocessable: `webhook_header_invalid`; the message repeats no value.
    """
    headers = {name.lower(): (name, value) for name, value in present.items()}
    _refuse_repeated(changes)
    for name, value in changes.items():
        if value is None:
            headers.pop(name.lower(), None)
        elif value == MASK and looks_secret(name):
            headers[name.lower()] = (name, _behind_mask(name, headers))
        else:
            headers[name.lower()] = (name, _checked(name, value))
    return _few(dict(headers.values()))


def shown(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` with a mask instead of each value that looks like a secret."""
    return {name: MASK if looks_secret(name) else value for name, value in headers.items()}


def looks_secret(name: str) -> bool:
    """Whether a header of this name is likely to hold what gives access."""
    return _SECRET.search(name.lower()) is not None


def _checked(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise _invalid(
            f"{name[:100]!r} is no header name", hint="letters, digits and !#$%&'*+-.^_`|~, 256 at most"
        )
    if _OURS.fullmatch(name.lower()):
        raise _invalid(f"{name} is set by Penstock itself", hint="leave it out")
    if _HOP_BY_HOP.fullmatch(name.lower()):
        raise _invalid(f"{name} is about the connection, not the message (RFC 9110)", hint="leave it out")
    if not _VALUE.fullmatch(value):
        raise _invalid(
            f"the value of {name} has a character that is not visible ASCII, or a blank at its beginning or end",
            hint="write other characters in percent-encoding or Base64, as the receiver expects them",
        )
    return value


def _behind_mask(name: str, headers: Mapping[str, tuple[str, str]]) -> str:
    if name.lower() not in headers:
        raise _invalid(
            f"the value of {name} is the mask that stands for a hidden value, and there is none yet",
            hint="send the value itself",
        )
    return headers[name.lower()][1]


def _refuse_repeated(changes: Mapping[str, str | None]) -> None:
    seen: set[str] = set()
    for name in changes:
        if name.lower() in seen:
            raise _invalid(f"{name[:100]} is there more than once; case does not matter in a header's name")
        seen.add(name.lower())


def _few(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > MAX_HEADERS:
        raise _invalid(f"{len(headers)} headers are too many; {MAX_HEADERS} may be")
    size = sum(len(name) + len(value) for name, value in headers.items())
    if size > MAX_BYTES:
        raise _invalid(f"the headers have {size} bytes in all; {MAX_BYTES} may be")
    return headers


def _invalid(detail: str, *, hint: str | None = None) -> Unprocessable:
    return Unprocessable("webhook_header_invalid", f"`headers`: {detail}", hint=hint)
