"""Settings that every service has, and those of services with an API or a store.

Read from the environment only, once, by a service's `app.py`. No service asks for a secret that it does not use.
"""

import os
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

JWT_SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key has at least the hash's 256 bits


class PlatformSettings(BaseSettings):
    """The environment variables `PENSTOCK_*` that all services share."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", extra="ignore", secrets_dir=os.environ.get("PENSTOCK_SECRETS_DIR")
    )

    database_url: str = Field(description="postgresql://… of a PostgreSQL 18 or later.")
    bus_url: str | None = Field(None, description="amqp://… of RabbitMQ; unset: the bus runs on PostgreSQL.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    database_pool_size: int = Field(10, ge=1, description="Connections a service keeps for its own queries.")
    stop_seconds: float = Field(
        5.0, description="How long a stopping process may finish what it has in hand."
    )


class StoreSettings(PlatformSettings):
    """What a service needs that touches uploaded files."""

    store_url: str = Field(description="file:///…, s3://…, gs://… or az://… where uploaded files live.")


class ApiSettings(PlatformSettings):
    """What a service needs that answers requests."""

    jwt_secret: SecretStr = Field(description="HS256 secret of access tokens, at least 32 bytes.")
    jwt_audience: str = "penstock"

    @model_validator(mode="after")
    def _jwt_secret_is_long_enough(self) -> Self:
        if len(self.jwt_secret.get_secret_value().encode()) < JWT_SECRET_BYTES:
            raise ValueError(
                "PENSTOCK_JWT_SECRET must have at least 32 bytes; make one with: openssl rand -hex 32"
            )
        return self
