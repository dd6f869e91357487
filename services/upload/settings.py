"""Settings of the upload service."""

from typing import Annotated

from pydantic import Field, PositiveInt, field_validator

from shared.contracts.datasets import datasets
from shared.platform.settings import ApiSettings, Given, StoreSettings, Unit

MIB = 1024**2
GIB = 1024**3
MOST_BYTES = 2**50  # a petabyte is no file
MAX_BYTES_BY_DATASET = {"sales": 10 * MIB}


class Settings(ApiSettings, StoreSettings):
    """The environment of `penstock serve upload`. A tenant may have limits of its own: `penstock limits`."""

    upload_max_bytes: Annotated[PositiveInt, Unit("bytes")] = Field(
        5 * GIB, le=MOST_BYTES, description="Largest file taken, in bytes, unpacked."
    )
    upload_max_bytes_by_dataset: Annotated[
        dict[str, Annotated[int, Field(ge=1, le=MOST_BYTES)]], Unit("bytes")
    ] = Field(
        {},
        validate_default=True,
        description=f"The same for single datasets, as a JSON object; sales: {10 * MIB}.",
    )

    @field_validator("upload_max_bytes_by_dataset")
    @classmethod
    def _with_defaults(cls, sizes: dict[str, int]) -> dict[str, int]:
        if unknown := sorted(set(sizes) - set(datasets())):
            raise ValueError(
                f"there is no dataset {', '.join(unknown)}; datasets are: {', '.join(datasets())}"
            )
        return MAX_BYTES_BY_DATASET | sizes

    upload_max_ratio: Annotated[PositiveInt, Unit("times")] = Field(
        200, le=1_000_000, description="How many times larger than it came a compressed file may be unpacked."
    )
    uploads_per_minute: Annotated[PositiveInt, Unit("uploads a minute")] = Field(
        10,
        le=1_000_000,
        description="Uploads that a tenant may begin within any 60 s; refused ones do not count.",
    )
    tus_expires_hours: Annotated[PositiveInt, Unit("hours")] = Field(
        24, le=8760, description="How long a resumable upload waits for its next bytes, in hours."
    )
    file_retention_days: Given[Annotated[int, Unit("days"), Field(ge=1, le=3650)]] = Field(
        None,
        description="For how many days the file of an import is kept after its end; unset: for good.",
    )
    imports_at_once: Annotated[PositiveInt, Unit("imports")] = Field(
        20, le=1_000_000, description="Imports of a tenant that may wait or be processed at a time."
    )
