"""Strings of a named format: email, uri, uuid. ISBNs have their own module."""

import re
from collections.abc import Callable
from typing import NamedTuple

from services.processor.checking.faults import CheckCode

# The dot-atom form of RFC 5321, section 4.1.2, with letters beyond ASCII (RFC 6531) and a domain of two labels or more;
# quoted local parts and addresses of hosts by number are mistakes far more often than meant.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(rf"(?=.{{3,254}}$)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}")
# RFC 3986, section 4.3, with a scheme, and letters beyond ASCII as people paste them (RFC 3987).
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://[^\s/?#<>\"{}|\\^`]+)?[^\s<>\"{}|\\^`]*")
_WEB = re.compile(r"https?:(?!//[^\s/?#])", re.IGNORECASE)  # a web address without a host
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")  # RFC 9562, section 4
_URI_LENGTH = 2048  # characters, as browsers take


class Named(NamedTuple):
    """A named format.

    Attributes:
        code: Of the fault.
        article: What people call it.
        hint: What to do about a value that is none.
        canonical: The value as it is stored; None if it is none of this format.
    """

    code: CheckCode
    article: str
    hint: str
    canonical: Callable[[str], str | None]


def _email(value: str) -> str | None:
    return value if len(value) <= 254 and _EMAIL.fullmatch(value) else None


def _uri(value: str) -> str | None:
    if len(value) > _URI_LENGTH or not _URI.fullmatch(value) or _WEB.match(value):
        return None
    return None if value.endswith(":") else value


def _uuid(value: str) -> str | None:
    return lowered if _UUID.fullmatch(lowered := value.lower()) else None


NAMED = {
    "email": Named("email_invalid", "an email address", "write it like name@example.com", _email),
    "uri": Named("uri_invalid", "a web address or URI", "write it like https://example.com/page", _uri),
    "uuid": Named("uuid_invalid", "a UUID", "write it like 0f3c8a52-6d1e-4b7a-9c55-2f1d3e4a5b6c", _uuid),
}
