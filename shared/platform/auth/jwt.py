"""JSON Web Tokens (RFC 7519, RFC 8725): ours, signed with a secret (HS256), and those of an issuer (RS256, ES256).

The issuer that a token names leads to the keys it may be checked with:

| `iss` of the token       | is checked with                        |
|--------------------------|----------------------------------------|
| PENSTOCK_JWT_ISSUER      | the keys at PENSTOCK_JWT_JWKS_URL      |
| `penstock`               | PENSTOCK_JWT_SECRET                    |

Without a JWKS URL the secret checks tokens of both, and where PENSTOCK_JWT_ISSUER is not set, those of any issuer and
of none. A key is of one algorithm; what a token says of its algorithm, its key or where to find one only has to agree.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt

from shared.contracts.problems import Unauthenticated
from shared.contracts.scopes import Scope
from shared.platform.auth.jwks import Jwks, Key
from shared.platform.auth.principal import (
    MAX_SUBJECT_LENGTH,
    Principal,
    checked_tenant,
    is_printable,
    known_scopes,
)

ALGORITHM: Literal["HS256"] = "HS256"  # of our own tokens
OUR_ISSUER = "penstock"
OUR_TENANT_CLAIM = "tenant"
CLOCK_SKEW = timedelta(seconds=30)
REMEMBERED = 1000  # tokens, of up to 8 KiB each; to check one takes a fifth of what a short request does
HINT = "send `Authorization: Bearer <token>`; make a token with `penstock token create`"


def create_jwt(
    secret: str, *, tenant: str, scopes: Iterable[Scope], audience: str, lifetime: timedelta
) -> str:
    """A signed access token for `tenant`.

    Raises:
        ValueError: no tenant can have that name.
    """
    now = datetime.now(UTC)
    claims = {
        "iss": OUR_ISSUER,
        "sub": f"token:{secrets.token_hex(4)}",
        "aud": audience,
        "iat": now,
        "exp": now + lifetime,
        OUR_TENANT_CLAIM: checked_tenant(tenant),
        "scope": " ".join(sorted(scopes)),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


class JwtVerifier:
    """Turns a JWT into a `Principal`. Without `secret` or `jwks` it takes none of the tokens that would need it."""

    def __init__(
        self,
        *,
        audience: str,
        secret: str | None = None,
        jwks: Jwks | None = None,
        issuer: str | None = None,
        tenant_claim: str = OUR_TENANT_CLAIM,
    ) -> None:
        self._audience = audience
        self._secret = Key(ALGORITHM, secret) if secret else None
        self._jwks = jwks
        self._issuer = issuer
        self._issuers = frozenset({OUR_ISSUER, issuer}) if issuer else None
        self._tenant_claim = tenant_claim
        # Of tokens signed with the secret, which are valid until they expire: an issuer may withdraw its keys.
        self._remembered: dict[str, Principal] = {}

    async def principal(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthenticated: it is malformed, forged, expired, not for us, or says nothing of a tenant.
            Unavailable: `keys_unavailable`.
        """
        known = self._remembered.get(token)
        if known and known.expires_at and datetime.now(UTC) < known.expires_at:
            return known
        try:
            key = await self._key_of(token)
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuers,
                leeway=CLOCK_SKEW,
                options={"require": ["exp", "aud", "sub"]},
            )
            principal = self._principal_of(claims)
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("token_expired", "this token has expired", hint=HINT) from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("token_invalid", "this token is not valid", hint=HINT) from error
        if key is self._secret:
            self._remember(token, principal)
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        self._remembered.pop(token, None)
        if len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[token] = principal

    async def _key_of(self, token: str) -> Key:
        """The key to check the token with, which is one of the issuer that the token names."""
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        header = unverified["header"]
        if "crit" in header or "b64" in header:
            raise jwt.InvalidTokenError("it needs an extension that is not understood")
        if self._jwks and unverified["payload"].get("iss") == self._issuer:
            key = await self._jwks.key(header.get("kid"), header.get("alg"))
        else:
            key = self._secret
        if key is None:
            raise jwt.InvalidTokenError("there is no key for it")
        return key

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        claim = OUR_TENANT_CLAIM if claims.get("iss") == OUR_ISSUER else self._tenant_claim
        try:
            tenant = checked_tenant(_value(claims, claim))
        except ValueError as error:
            raise Unauthenticated("token_invalid", "this token names no tenant", hint=HINT) from error
        if not is_printable(claims["sub"], MAX_SUBJECT_LENGTH):
            raise jwt.InvalidTokenError("it names nobody")
        return Principal(claims["sub"], tenant, _scopes(claims), _end_of(claims))


def _end_of(claims: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(claims["exp"]), UTC) + CLOCK_SKEW
    except (ValueError, OverflowError, OSError):
        return None  # beyond the years that there are


def _value(claims: Mapping[str, Any], path: str) -> object:
    """The claim named `path`, which may itself have dots; else the value that the parts of it lead to, or None."""
    if path in claims:
        return claims[path]
    first, _, rest = path.partition(".")
    inner = claims.get(first)
    return _value(inner, rest) if rest and isinstance(inner, dict) else None


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Those in `scope` (RFC 8693, section 4.2), else in `scp`: words with spaces between, or a list."""
    said = claims.get("scope", claims.get("scp", ""))
    names = said.split() if isinstance(said, str) else said
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise jwt.InvalidTokenError("its scopes are no words")
    return known_scopes(names)
