"""The cookie that a browser keeps of its session (RFC 6265bis): no script sees it, and pages of other sites do not send it."""

from fastapi import Request, Response

from shared.platform.auth import COOKIE, SECURE_COOKIE


def set_cookie(request: Request, response: Response, session_id: str, *, seconds: int) -> None:
    """Have the browser keep the session for `seconds`; over TLS, such that it is never sent without."""
    secure = request.url.scheme == "https"
    name = SECURE_COOKIE if secure else COOKIE
    response.set_cookie(
        name, session_id, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict"
    )


def clear_cookies(response: Response) -> None:
    """Have the browser forget it, by whichever name it has it."""
    for name in (SECURE_COOKIE, COOKIE):
        response.delete_cookie(name, path="/", secure=name == SECURE_COOKIE, httponly=True, samesite="strict")
