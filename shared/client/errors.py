"""What can go wrong for a client.

ClientError
├── Unreachable   no answer came: nobody listens, or the connection broke
└── Refused       the server answered with a problem document (RFC 9457)
"""

import json
from typing import Any


class ClientError(Exception):
    """A request to Penstock that did not work.

    Attributes:
        hint: What to do about it, if that is known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Unreachable(ClientError):
    """No answer came. An upload that was cut off is not stored; an import that was accepted goes on."""


class Refused(ClientError):
    """The server said no.

    Attributes:
        status: HTTP status.
        code: The problem's stable name; `http_error` where the answer was no problem document.
        detail: What is wrong and where.
        document: The whole problem document, which may have more members.
        retry_after: Seconds after which the same request may work, as the server says; None: it does not.
    """

    def __init__(self, status: int, document: dict[str, Any], *, retry_after: int | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        self.code = str(document.get("code") or "http_error")
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.document = document
        hint = document.get("hint")
        super().__init__(self.detail, hint=str(hint) if hint else None)

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may work in a moment: something behind the server is away."""
        return self.status in {429, 502, 503, 504}


def refused(status: int, reason: str, body: bytes, retry_after: str = "") -> Refused:
    """The error in an answer's `body`, which need not be a problem document: proxies answer in HTML."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"the server answered {status} {reason}".strip()}
    return Refused(status, document, retry_after=int(retry_after) if retry_after.isdecimal() else None)
