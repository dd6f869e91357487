"""Settings of the upload service."""

from pydantic import Field

from shared.platform.settings import ApiSettings, StoreSettings

GIB = 1024**3


class Settings(ApiSettings, StoreSettings):
    """The environment of `penstock serve upload`."""

    upload_max_bytes: int = Field(5 * GIB, ge=1, description="Largest file taken, in bytes, unpacked.")
    upload_max_ratio: int = Field(
        200, ge=1, description="How many times larger than it came a compressed file may be unpacked."
    )
