"""Settings of the processor."""

from typing import Annotated

from pydantic import Field

from shared.platform.settings import Given, StoreSettings, Unit

MIB = 1024**2


class Settings(StoreSettings):
    """The environment of `penstock serve processor`."""

    slice_bytes: Annotated[int, Unit("bytes")] = Field(
        4 * MIB,
        ge=2 * MIB,
        le=256 * MIB,
        description="Bytes of a file done by one transaction. Memory is some 20 times as much.",
    )
    lease_seconds: Annotated[float, Unit("seconds")] = Field(
        60.0, gt=0, le=86_400, description="How long a processor may hold an import's slice."
    )
    error_retention_days: Given[Annotated[int, Unit("days"), Field(ge=1, le=3650)]] = Field(
        None,
        description="For how many days row errors, error files and what changed are kept after an import's end, and what"
        " edits changed; counts and receipts stay. Unset: for good.",
    )
    row_errors_kept: Annotated[int, Unit("row errors")] = Field(
        10_000, ge=0, le=10_000_000, description="Row errors of one import kept as rows."
    )
