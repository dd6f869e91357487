"""The public keys of an issuer, from its JWKS URL (RFC 7517): fetched when they are needed, kept, rotated."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from shared.contracts.problems import Unavailable
from shared.platform.logs import get_logger

FETCH_SECONDS = 5.0
MAX_BYTES = 1024 * 1024
# What anybody can cause by naming keys that are not there: one request to the issuer in this time.
UNKNOWN_KEY_SECONDS = 30.0
RETRY_SECONDS = 5.0  # after a fetch that failed
MINIMUM_RSA_BITS = 2048  # RFC 7518, section 3.3

Algorithm = Literal["HS256", "RS256", "ES256"]

log = get_logger(__name__)


@dataclass(frozen=True)
class Key:
    """What a signature is checked with, and the only algorithm it may be checked by."""

    algorithm: Algorithm
    material: str | RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True)
class PublishedKey(Key):
    """A key of an issuer. `kid` is the name that the issuer gave to it, if any."""

    kid: str | None


class _Published(BaseModel):
    """A JSON Web Key that may check signatures; one with a private part (`d`) is nobody's secret any more."""

    kid: str | None = None
    use: Literal["sig"] | None = None
    key_ops: list[str] = ["verify"]
    d: None = None


class _Rsa(_Published):
    kty: Literal["RSA"]
    alg: Literal["RS256"] | None = None
    n: str
    e: str

    def key(self) -> PublishedKey:
        public = RSAAlgorithm.from_jwk({"kty": self.kty, "n": self.n, "e": self.e})
        if not isinstance(public, RSAPublicKey) or public.key_size < MINIMUM_RSA_BITS:
            raise ValueError(f"an RSA key has at least {MINIMUM_RSA_BITS} bits")
        return PublishedKey("RS256", public, self.kid)


class _Ec(_Published):
    kty: Literal["EC"]
    alg: Literal["ES256"] | None = None
    crv: Literal["P-256"]
    x: str
    y: str

    def key(self) -> PublishedKey:
        public = ECAlgorithm.from_jwk({"kty": self.kty, "crv": self.crv, "x": self.x, "y": self.y})
        assert isinstance(public, EllipticCurvePublicKey)
        return PublishedKey("ES256", public, self.kid)


class _Document(BaseModel):
    keys: list[Any]


_KEY: TypeAdapter[_Rsa | _Ec] = TypeAdapter(Annotated[_Rsa | _Ec, Field(discriminator="kty")])


class Jwks:
    """The keys at a JWKS URL.

    They are kept for `seconds`. A key that is not among them is looked for at once, at most every 30 s. While the
    issuer cannot be asked, the keys that are known go on being used. However many requests wait, one fetch is under way.
    """

    def __init__(self, url: str, *, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        # Made once, as it reads all the certificates that are trusted. SSL_CERT_FILE may name those of an own authority.
        self._tls = httpx.create_ssl_context()
        self._keys: tuple[PublishedKey, ...] = ()
        self._failed = False
        self._fetched_at = self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: object) -> Key | None:
        """The key named `kid`, or the only one there is if that is None, if it is one for `algorithm`.

        Raises:
            Unavailable: `keys_unavailable`: the issuer cannot be asked for it.
        """
        await self._renew()
        if not self._knows(kid) and (self._is_fetching() or self._since_last_try() >= UNKNOWN_KEY_SECONDS):
            await self._fetched()
        if self._failed and not self._knows(kid):
            raise Unavailable(
                "keys_unavailable",
                "the keys that this token would be checked with cannot be had at present",
                retry_after=int(RETRY_SECONDS),
            )
        return self._find(kid, algorithm)

    async def _renew(self) -> None:
        """Fetch the keys when it is time; wait for them, unless the last fetch failed and there are old ones."""
        expired = not self._keys or monotonic() - self._fetched_at >= self._seconds
        resting = self._failed and self._since_last_try() < RETRY_SECONDS
        if expired and not resting:
            fetched = self._fetched()
            if not (self._keys and self._failed):
                await fetched

    def _since_last_try(self) -> float:
        return monotonic() - self._tried_at

    def _knows(self, kid: str | None) -> bool:
        return any(kid in {None, key.kid} for key in self._keys)

    def _find(self, kid: str | None, algorithm: object) -> Key | None:
        fit = [key for key in self._keys if key.algorithm == algorithm and kid in {None, key.kid}]
        return fit[0] if len(fit) == 1 else None

    def _is_fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    def _fetched(self) -> "asyncio.Future[None]":
        """The fetch under way, or a new one; who waits for it may go away without ending it for the others."""
        if self._fetch is None or self._fetch.done():
            self._tried_at = monotonic()
            self._fetch = asyncio.create_task(self._fetch_keys())
        return asyncio.shield(self._fetch)

    async def _fetch_keys(self) -> None:
        host = urlsplit(self._url).hostname
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document = _Document.model_validate_json(await self._download())
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self._failed = True
            log.warning("jwks.fetch_failed", host=host, reason=_reason(error), keys_known=len(self._keys))
            return
        found = [_key_of(each) for each in document.keys]
        self._keys = tuple(key for key in found if key)
        self._fetched_at = self._tried_at
        self._failed = not self._keys
        report = log.warning if self._failed else log.info
        report("jwks.fetched", host=host, keys=len(self._keys), unfit=found.count(None))

    async def _download(self) -> bytes:
        body = bytearray()
        client = httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, timeout=FETCH_SECONDS
        )
        # Unpacked a small answer may be a large one.
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        async with client, client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"it answered {response.status_code}")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"its answer is larger than {MAX_BYTES} bytes")
        return bytes(body)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "its answer is no JWK Set"
    return str(error) or type(error).__name__


def _key_of(document: object) -> PublishedKey | None:
    """The key that a JWK is, or None if it is not one to check RS256 or ES256 with."""
    try:
        jwk = _KEY.validate_python(document)
        return jwk.key() if "verify" in jwk.key_ops else None
    except (PyJWTError, ValueError):
        return None
