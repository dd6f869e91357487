"""Settings that every service has. Read from the environment only, once, by a service's `app.py`."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_JWT_SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key has at least the hash's 256 bits


class PlatformSettings(BaseSettings):
    """The environment variables `PENSTOCK_*` that all services share."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", extra="ignore", secrets_dir=os.environ.get("PENSTOCK_SECRETS_DIR")
    )

    home: Path = Field(Path(".penstock"), description="Folder of everything embedded.")
    database_url: str = Field(description="postgresql://… of a PostgreSQL 18 or later.")
    bus_url: str | None = Field(None, description="amqp://… of RabbitMQ; unset: the bus runs on PostgreSQL.")
    store_url: str = Field(description="file:///…, s3://…, gs://… or az://… where uploaded files live.")
    jwt_secret: SecretStr = Field(description="HS256 secret of access tokens, at least 32 bytes.")
    jwt_audience: str = "penstock"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    database_pool_size: int = Field(10, ge=1, description="Connections a service keeps for its own queries.")
    stop_seconds: float = Field(
        8.0, description="How long a stopping process may finish what it has in hand."
    )

    @model_validator(mode="after")
    def _jwt_secret_is_long_enough(self) -> "PlatformSettings":
        if len(self.jwt_secret.get_secret_value().encode()) < DEVELOPMENT_JWT_SECRET_BYTES:
            raise ValueError(
                "PENSTOCK_JWT_SECRET must have at least 32 bytes; make one with: openssl rand -hex 32"
            )
        return self
