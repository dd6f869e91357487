"""Settings of the results service."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, PositiveInt, SecretStr, field_validator
from pydantic_core import PydanticKnownError

from services.results.receipts.signing import NotAKey, private_key_of, public_key_of
from shared.platform.settings import ApiSettings, CommaSeparated, StoreSettings, Unit


class Settings(ApiSettings, StoreSettings):
    """The environment of `penstock serve results`. The store is where uploaded files and error files are read from."""

    receipt_key: SecretStr = Field(description="Ed25519 private key that signs receipts, in PEM or base64.")
    receipt_public_keys: CommaSeparated = Field(
        (),
        description="Further Ed25519 public keys to publish: those of earlier receipts, or of the next key.",
    )
    session_hours: Annotated[PositiveInt, Unit("hours")] = Field(
        12, le=720, description="How long the console stays signed in at most, in hours."
    )

    @field_validator("receipt_key")
    @classmethod
    def _receipt_key_is_one(cls, key: SecretStr) -> SecretStr:
        if not key.get_secret_value():
            raise PydanticKnownError("missing")
        private_key_of(key.get_secret_value())
        return key

    @field_validator("receipt_public_keys")
    @classmethod
    def _receipt_public_keys_are_some(cls, keys: Sequence[str]) -> Sequence[str]:
        for number, key in enumerate(keys, 1):
            try:
                public_key_of(key)
            except NotAKey as error:
                raise ValueError(f"of number {number}, {error}") from None
        return keys
