"""Headers that tell browsers to do with our answers nothing but read them (OWASP REST Security Cheat Sheet)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]

SECURITY_HEADERS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()",
    ),
)
# One tenant's data must not be shown to the next one from a cache. The page at /docs has no data.
NOT_KEPT: Headers = (*SECURITY_HEADERS, (b"cache-control", b"no-store"))
SECURE: Headers = ((b"strict-transport-security", b"max-age=31536000"),)  # a year
KEPT_BELOW = "/docs"


class SecurityHeadersMiddleware:
    """Adds them to every response, whoever made it; a header that the response has already stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = SECURITY_HEADERS if scope["path"].startswith(KEPT_BELOW) else NOT_KEPT
        if scope["scheme"] == "https":
            wanted += SECURE

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                message["headers"] = own + [header for header in wanted if header[0] not in names]
            await send(message)

        await self._app(scope, receive, send_secured)
