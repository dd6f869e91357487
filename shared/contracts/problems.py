"""Errors as they go out over HTTP: RFC 9457 problem details with a stable `code`.

An error that is the caller's to mend is a `Problem`: raised anywhere in a service, answered at the edge.

    Problem
    ├── Unauthenticated     401  no token, or one that is wrong, expired or revoked; or a session that is over
    ├── Forbidden           403  the token is right, its scopes are not enough; or a page of another site asks
    ├── NotFound            404  no such thing for this tenant (another tenant's is "no such thing" too)
    ├── MethodNotAllowed    405  not with this thing; `Allow` names what is
    ├── RequestTimeout      408  the request's body stood still; the connection is closed
    ├── Conflict            409
    ├── PreconditionFailed  412  it is not as `If-Match` says
    ├── TooLarge            413
    ├── UnsupportedMedia    415
    ├── Unprocessable       422  the request was read and is wrong
    ├── TooManyRequests     429  the tenant's limit is used up; try again after `retry_after` seconds
    ├── Unavailable         503  something of ours is away; try again after `retry_after` seconds
    └── NoAnswer            504  it may have been done, or not: what does it was lost in the middle
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An error to answer with. Nothing was stored or changed, but for `NoAnswer`.

    Attributes:
        code: Stable name, snake case, for programs.
        detail: What is wrong and where, for people.
        hint: What to do about it.
        extra: Further members of the document (RFC 9457, section 3.2).
    """

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(self, code: str, detail: str, *, hint: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.extra = extra
        self._more_headers: dict[str, str] = {}

    def headers(self) -> Mapping[str, str]:
        """Response headers that belong to this problem."""
        return self._more_headers

    def answered_with(self, headers: Mapping[str, str]) -> Self:
        """This problem, answered with `headers` beside its own."""
        self._more_headers.update(headers)
        return self

    def document(self) -> dict[str, Any]:
        """The problem details as a JSON object."""
        document: dict[str, Any] = {
            "type": f"urn:penstock:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.hint:
            document["hint"] = self.hint
        return document | self.extra


class Unauthenticated(Problem):
    status = 401
    title = "Authentication needed"

    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="penstock"', **super().headers()}


class Forbidden(Problem):
    status = 403
    title = "Not allowed"


class NotFound(Problem):
    status = 404
    title = "Not found"


class MethodNotAllowed(Problem):
    status = 405
    title = "Method not allowed"

    def __init__(self, code: str, detail: str, *, allow: Sequence[str], hint: str | None = None) -> None:
        super().__init__(code, detail, hint=hint)
        self.allow = allow

    def headers(self) -> Mapping[str, str]:
        return {"Allow": ", ".join(self.allow), **super().headers()}


class RequestTimeout(Problem):
    status = 408
    title = "Request timeout"

    def headers(self) -> Mapping[str, str]:
        return {"Connection": "close", **super().headers()}


class Conflict(Problem):
    status = 409
    title = "Conflict"


class Removed(Problem):
    """It was there, and is not kept any more."""

    status = 410
    title = "Gone"


class PreconditionFailed(Problem):
    status = 412
    title = "Precondition failed"


class TooLarge(Problem):
    status = 413
    title = "Too large"


class UnsupportedMedia(Problem):
    status = 415
    title = "Unsupported media type"


class Unprocessable(Problem):
    status = 422
    title = "Unprocessable"


class TooManyRequests(Problem):
    status = 429
    title = "Too many requests"

    def __init__(self, code: str, detail: str, *, retry_after: int, hint: str | None = None) -> None:
        super().__init__(code, detail, hint=hint)
        self.retry_after = retry_after

    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after), **super().headers()}


class Unavailable(Problem):
    status = 503
    title = "Temporarily unavailable"

    def __init__(self, code: str, detail: str, *, retry_after: int = 5, hint: str | None = None) -> None:
        super().__init__(code, detail, hint=hint)
        self.retry_after = retry_after

    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after), **super().headers()}


class NoAnswer(Problem):
    """An error after which something may have been changed, as nobody could tell. Look before trying again."""

    status = 504
    title = "No answer"
