"""Settings of the processor."""

from pydantic import Field

from shared.platform.settings import StoreSettings

MIB = 1024**2


class Settings(StoreSettings):
    """The environment of `penstock serve processor`."""

    slice_bytes: int = Field(
        4 * MIB,
        ge=2 * MIB,
        description="Bytes of a file done by one transaction. Memory is some 20 times as much.",
    )
    lease_seconds: float = Field(60.0, gt=0, description="How long a processor may hold an import's slice.")
    row_errors_kept: int = Field(10_000, ge=0, description="Row errors of one import kept as rows.")
