"""Who calls: a bearer token becomes a `Principal`, and a route says which scope its caller must have."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.problems import Forbidden, Unauthenticated
from shared.contracts.scopes import Scope
from shared.platform.auth.api_keys import API_KEY_PREFIX, ApiKeyVerifier
from shared.platform.auth.jwks import Jwks
from shared.platform.auth.jwt import HINT, JwtVerifier
from shared.platform.auth.principal import Principal
from shared.platform.settings import ApiSettings

MAX_TOKEN_LENGTH = 8 * 1024  # characters; what issuers make is below 4 KiB, which cookies hold at most

bearer = HTTPBearer(auto_error=False, description="A JWT or an API key")


class Authenticator:
    """Turns a bearer token into a `Principal`."""

    def __init__(self, jwts: JwtVerifier, api_keys: ApiKeyVerifier) -> None:
        self._jwts = jwts
        self._api_keys = api_keys

    def require(self, scope: Scope) -> Callable[..., Awaitable[Principal]]:
        """A FastAPI dependency: the caller, who has `scope` (or `admin`).

        Raises:
            Unauthenticated: no token, or one that is not valid now.
            Forbidden: a valid token without the scope.
            Unavailable: `keys_unavailable`: a token that cannot be checked now.
        """

        async def principal(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
        ) -> Principal:
            if credentials is None:
                raise Unauthenticated("token_missing", "this request carries no bearer token", hint=HINT)
            caller = await self.identify(credentials.credentials)
            if not caller.may(scope):
                raise Forbidden(
                    "scope_missing", f"this token lacks the scope {scope!r}", required_scope=scope
                )
            request.state.tenant = caller.tenant
            return caller

        return principal

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
    """The authenticator of a service, which reads API keys as the service's role."""
    url, secret = settings.jwt_jwks_url, settings.jwt_secret
    jwts = JwtVerifier(
        audience=settings.jwt_audience,
        secret=secret.get_secret_value() if secret else None,
        jwks=Jwks(url, seconds=settings.jwt_jwks_seconds) if url else None,
        issuer=settings.jwt_issuer,
        tenant_claim=settings.jwt_tenant_claim,
    )
    return Authenticator(jwts, ApiKeyVerifier(engine))
