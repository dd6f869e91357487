"""Settings that every process and every service has, and those of services with an API or a store.

Read from the environment only (`penstock` puts there what PENSTOCK_SECRETS_DIR holds), once, by a service's `app.py`.
No service asks for a secret that it does not use; none of these classes shows one, neither printed nor in an error.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Literal, Self, TypeVar

import httpx
from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.platform.pooler import Pooler

# What secrets have in them that stand in examples, or are meant for one's own machine.
PLACEHOLDERS = (
    "development",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "replace-me",
    "replace_me",
)
JWT_SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key has at least the hash's 256 bits


SENTRY_DSN = re.compile(r"https?://[^\s/@]+@[^\s/@]+/(?:[^\s/]+/)*\d+")
# `scheme://host[:port]` as browsers send it: lower case, no path, no slash at the end (RFC 6454, section 6.2).
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[Sequence[str], NoDecode, BeforeValidator(_listed)]


@dataclass(frozen=True)
class Unit:
    """What a setting that is a number counts: `Annotated[float, Unit("seconds")]`. Shown by `penstock settings`."""

    name: str


class ProcessSettings(BaseSettings):
    """The environment variables `PENSTOCK_*` of a process that answers HTTP, whatever services are in it."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", hide_input_in_errors=True)

    cors_origins: CommaSeparated = Field(
        (), description="Origins whose pages may call this API, separated by commas."
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        description="Addresses and networks of proxies whose X-Forwarded-* headers are believed; `*`: all.",
    )
    body_idle_seconds: Annotated[float, Unit("seconds")] = Field(
        30.0, gt=0, le=3600, description="How long a request's body may bring nothing before it is given up."
    )
    request_seconds: Annotated[float, Unit("seconds")] = Field(
        60.0,
        gt=0,
        le=3600,
        description="How long a request may take until its answer begins; uploads take as they need.",
    )
    sentry_dsn: SecretStr | None = Field(
        None, description="https://…: where errors that are logged with a traceback are sent, too."
    )

    @field_validator("sentry_dsn")
    @classmethod
    def _is_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn and not SENTRY_DSN.fullmatch(dsn.get_secret_value()):
            raise ValueError("not a DSN, which has the form https://key@host/number")
        return dsn

    @field_validator("cors_origins")
    @classmethod
    def _are_exact(cls, origins: Sequence[str]) -> Sequence[str]:
        for origin in origins:
            if origin == "*":
                raise ValueError("`*` is not taken, as callers send tokens; list the origins one by one")
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin, which has the form https://host or https://host:port"
                )
        return origins


T = TypeVar("T")
# An empty variable counts as none.
Given = Annotated[T | None, BeforeValidator(lambda value: value or None)]


class PlatformSettings(BaseSettings):
    """The environment variables `PENSTOCK_*` that all services share."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", hide_input_in_errors=True)

    environment: Literal["production", "development"] = Field(
        "production", description="In development a placeholder is taken as PENSTOCK_JWT_SECRET."
    )
    # URLs have passwords in them.
    database_url: str = Field(repr=False, description="postgresql://… of a PostgreSQL 18 or later.")
    database_session_url: Given[str] = Field(
        None,
        repr=False,
        description="postgresql://… of the same database past its pooler, for what needs a session: waiting for"
        " notifications, locks, migrations; unset: PENSTOCK_DATABASE_URL.",
    )
    database_pooler: Pooler = Field(
        "none",
        description="What PENSTOCK_DATABASE_URL leads to: PostgreSQL itself, or PgBouncer in transaction mode.",
    )
    bus_url: str | None = Field(
        None, repr=False, description="amqp://… of RabbitMQ; unset: the bus runs on PostgreSQL."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="From which level on the log is written."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="The log as JSON, one object a line; or as text for a terminal."
    )
    database_pool_size: Annotated[int, Unit("connections")] = Field(
        10,
        ge=1,
        le=1000,
        description="Connections a service keeps for its own queries; results opens up to 10 more for edits under way.",
    )
    event_retention_days: Annotated[int, Unit("days")] = Field(
        30,
        ge=2,  # a message comes again for some hours at most
        le=3650,
        description="For how many days it is kept which events were handled, so that none counts twice.",
    )
    stop_seconds: Annotated[float, Unit("seconds")] = Field(
        5.0, ge=0, le=3600, description="How long a stopping process may finish what it has in hand."
    )

    @model_validator(mode="after")
    def _sessions_go_past_the_pooler(self) -> Self:
        if self.database_pooler != "none" and self.session_url == self.database_url:
            raise ValueError(
                "PENSTOCK_DATABASE_SESSION_URL must be set with PENSTOCK_DATABASE_POOLER=transaction: the URL of PostgreSQL"
                " itself, as behind such a pooler nobody can wait for notifications or hold a lock"
            )
        return self

    @property
    def session_url(self) -> str:
        """Where connections are sessions."""
        return self.database_session_url or self.database_url


class StoreSettings(PlatformSettings):
    """What a service needs that touches uploaded files."""

    store_url: str = Field(
        repr=False, description="file:///…, s3://…, gs://… or az://… where uploaded files live."
    )


class ApiSettings(PlatformSettings):
    """What a service needs that answers requests."""

    jwt_jwks_url: Given[str] = Field(None, description="https://… of the keys that sign an issuer's tokens.")
    jwt_secret: Given[SecretStr] = Field(
        None, validate_default=True, description="HS256 secret of access tokens, at least 32 bytes."
    )
    jwt_audience: str = Field(
        "penstock", min_length=1, description="What `aud` of a token must name for it to be taken."
    )
    jwt_issuer: Given[str] = Field(
        None, description="Whose tokens are taken, beside those of Penstock itself."
    )
    jwt_jwks_seconds: Annotated[float, Unit("seconds")] = Field(
        300, ge=1, le=86_400, description="How long keys of the JWKS URL are kept."
    )
    jwt_tenant_claim: str = Field(
        "tenant", min_length=1, description="Claim that names the tenant; `org.id`: the claim `id` in `org`."
    )

    @field_validator("jwt_secret")
    @classmethod
    def _jwt_secret_is_there_unless_others_sign(
        cls, secret: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        if secret is None and info.data.get("jwt_jwks_url", "wrong") is None:
            raise PydanticKnownError("missing")
        return secret

    @model_validator(mode="after")
    def _jwt_secret_is_long_enough(self) -> Self:
        if self.jwt_secret and len(self.jwt_secret.get_secret_value().encode()) < JWT_SECRET_BYTES:
            raise ValueError(
                "PENSTOCK_JWT_SECRET must have at least 32 bytes; make one with: openssl rand -hex 32"
            )
        return self

    @model_validator(mode="after")
    def _jwt_secret_is_no_key_pair(self) -> Self:
        if self.jwt_secret and self.jwt_secret.get_secret_value().startswith(
            ("-----BEGIN", "ssh-", "ecdsa-")
        ):
            raise ValueError(
                "PENSTOCK_JWT_SECRET is a PEM or SSH key, whose public half may be known to anybody;"
                " make a secret with: openssl rand -hex 32"
            )
        return self

    @model_validator(mode="after")
    def _jwks_url_is_safe(self) -> Self:
        if self.jwt_jwks_url and not _is_safe(self.jwt_jwks_url):
            raise ValueError(
                "PENSTOCK_JWT_JWKS_URL must be https://…, without a user name or a password"
                " (http:// is for this machine only: whoever changes the keys on their way can sign any token)"
            )
        return self

    @model_validator(mode="after")
    def _jwks_url_has_an_issuer(self) -> Self:
        if self.jwt_jwks_url and self.jwt_issuer in {None, "penstock"}:
            raise ValueError(
                "PENSTOCK_JWT_ISSUER must be set with PENSTOCK_JWT_JWKS_URL: what `iss` says in tokens signed with"
                " those keys (`penstock` it cannot be, as that is who signs with PENSTOCK_JWT_SECRET)"
            )
        return self

    @model_validator(mode="after")
    def _jwt_secret_is_no_placeholder(self) -> Self:
        folded = self.jwt_secret.get_secret_value().lower() if self.jwt_secret else ""
        placeholder = next((word for word in PLACEHOLDERS if word in folded), None)
        if placeholder and self.environment == "production":
            raise ValueError(
                f"PENSTOCK_JWT_SECRET is a placeholder: it has {placeholder!r} in it, as examples do, and whoever knows it"
                " can sign any token; make a secret with: openssl rand -hex 32 (or, on a machine of your own,"
                " set PENSTOCK_ENVIRONMENT=development)"
            )
        return self


def _is_safe(url: str) -> bool:
    """Whether what is fetched from `url` cannot be changed on its way, and the URL holds no secret."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    is_address = bool(parts.host) and (parts.port or 0) <= 65_535
    return is_address and not parts.userinfo and (parts.scheme == "https" or _is_local(parts))


def _is_local(url: httpx.URL) -> bool:
    with suppress(ValueError):
        return url.scheme == "http" and (url.host == "localhost" or ip_address(url.host).is_loopback)
    return False
