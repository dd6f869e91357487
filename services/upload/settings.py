"""Settings of the upload service."""

from pydantic import Field

from shared.platform.settings import ApiSettings, StoreSettings

GIB = 1024**3


class Settings(ApiSettings, StoreSettings):
    """The environment of `penstock serve upload`."""

    upload_max_bytes: int = Field(5 * GIB, ge=1, description="Largest file taken, in bytes.")
