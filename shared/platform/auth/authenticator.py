"""Who calls: a bearer token, or a session, becomes a `Principal`; a route says which scope its caller must have."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.problems import Conflict, Forbidden, Problem, Unauthenticated, Unavailable
from shared.contracts.scopes import Scope
from shared.platform.auth.api_keys import API_KEY_PREFIX, ApiKeyVerifier
from shared.platform.auth.cross_site import refuse_cross_site
from shared.platform.auth.jwks import Jwks
from shared.platform.auth.jwt import HINT, JwtVerifier
from shared.platform.auth.principal import Principal
from shared.platform.auth.sessions import SessionVerifier, session_id
from shared.platform.logs import get_logger
from shared.platform.settings import ApiSettings

CHECK_SECONDS = 45.0  # what is open already asks some seconds later, and is to end within a minute
# Whose the page is that asks, percent-encoded: all tabs of a browser have one cookie, and another may have signed in since.
PAGE_TENANT = "Penstock-Tenant"
MAX_TOKEN_LENGTH = 8 * 1024  # characters; what issuers make is below 4 KiB, which cookies hold at most

log = get_logger(__name__)

bearer = HTTPBearer(
    auto_error=False,
    description="A JWT or an API key. (The console's own pages send the cookie of a session instead, see"
    " `/api/v1/session`. It is not for other clients.)",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


class Permit:
    """That a caller may go on with what takes long. Its token, or session, is looked at anew every CHECK_SECONDS."""

    def __init__(self, caller: Principal, identify: Callable[[], Awaitable[Principal]], scope: Scope) -> None:
        self.caller = caller
        self._identify = identify
        self._scope = scope
        self._checked = monotonic()

    async def holds(self) -> bool:
        """Whether it has neither expired nor, a minute ago at the latest, been revoked or signed out."""
        expires_at = self.caller.expires_at
        if expires_at is not None and expires_at <= datetime.now(UTC):
            return False
        if monotonic() - self._checked < CHECK_SECONDS:
            return True
        self._checked = monotonic()
        try:
            self.caller = await self._identify()
        except Unauthenticated:
            return False
        except (Unavailable, SQLAlchemyError, OSError) as error:  # not the caller's fault; it is asked again
            log.warning("token.not_checked", subject=self.caller.subject, error=repr(error))
            return True
        return self.caller.may(self._scope)


class Authenticator:
    """Turns a bearer token, or else a session's cookie, into a `Principal`."""

    def __init__(self, jwts: JwtVerifier, api_keys: ApiKeyVerifier, sessions: SessionVerifier) -> None:
        self._jwts = jwts
        self._api_keys = api_keys
        self._sessions = sessions

    def require(self, scope: Scope) -> Callable[..., Awaitable[Principal]]:
        """A FastAPI dependency: the caller, who has `scope` (or `admin`).

        Raises:
            Unauthenticated: no token and no session, or one that is not valid now.
            Forbidden: a valid one without the scope; or `cross_site_request`.
            Conflict: `session_changed`: the session is not that of the page.
            Unavailable: `keys_unavailable`: a token that cannot be checked now.
        """

        async def principal(request: Request, credentials: Credentials) -> Principal:
            return (await self._permit(request, credentials, scope)).caller

        return principal

    def permit(self, scope: Scope) -> Callable[..., Awaitable[Permit]]:
        """`require` for answers that go on for long."""

        async def permit(request: Request, credentials: Credentials) -> Permit:
            return await self._permit(request, credentials, scope)

        return permit

    async def caller(self, request: Request, credentials: Credentials) -> Principal:
        """A FastAPI dependency: `require` without a scope."""
        return await self._identifying(request, credentials)()

    async def _permit(
        self, request: Request, credentials: HTTPAuthorizationCredentials | None, scope: Scope
    ) -> Permit:
        identify = self._identifying(request, credentials)
        caller = await identify()
        if not caller.may(scope):
            raise Forbidden("scope_missing", f"this token lacks the scope {scope!r}", required_scope=scope)
        return Permit(caller, identify, scope)

    def _identifying(
        self, request: Request, credentials: HTTPAuthorizationCredentials | None
    ) -> Callable[[], Awaitable[Principal]]:
        """How to find out, now and later, who makes the request. A session counts where no other way was tried."""
        if credentials is not None:
            return partial(self.identify, credentials.credentials)
        session = session_id(request.cookies, request.scope["scheme"])
        if "Authorization" in request.headers or not session:
            raise Unauthenticated("token_missing", "this request carries no bearer token", hint=HINT)
        refuse_cross_site(request.method, request.headers)
        return partial(self._of_page, session, request.headers.get(PAGE_TENANT))

    async def _of_page(self, session: str, tenant: str | None) -> Principal:
        caller = await self._sessions.principal(session)
        if tenant is not None and unquote(tenant) != caller.tenant:
            raise Conflict(
                "session_changed", "somebody else has signed in with this browser", hint="load the page again"
            )
        return caller

    async def plain_caller(self, request: Request, scope: Scope) -> Principal | None:
        """What `require` gives a bearer token where all is well, for routes that take plain requests by hand; else None."""
        scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer":
            return None
        try:
            caller = await self.identify(token)
        except Problem:
            return None
        return caller if caller.may(scope) else None

    async def identify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthenticated: it is too long, malformed, forged, expired or revoked.
            Unavailable: `keys_unavailable`.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise Unauthenticated(
                "token_invalid", f"a token has no more than {MAX_TOKEN_LENGTH} characters", hint=HINT
            )
        if token.startswith(API_KEY_PREFIX):
            return await self._api_keys.principal(token)
        return await self._jwts.principal(token)


def authenticator_of(settings: ApiSettings, engine: AsyncEngine) -> Authenticator:
    """The authenticator of a service, which reads API keys and sessions as the service's role."""
    url, secret = settings.jwt_jwks_url, settings.jwt_secret
    jwts = JwtVerifier(
        audience=settings.jwt_audience,
        secret=secret.get_secret_value() if secret else None,
        jwks=Jwks(url, seconds=settings.jwt_jwks_seconds) if url else None,
        issuer=settings.jwt_issuer,
        tenant_claim=settings.jwt_tenant_claim,
    )
    return Authenticator(jwts, ApiKeyVerifier(engine), SessionVerifier(engine))
