"""What the API shows of receipts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.results.errors.resources import ErrorCount
from shared.contracts.dialect import Dialect, DialectExplanation
from shared.contracts.options import ImportOptions


class Signature(BaseModel):
    """Who says so: a signature in the JSON Signature Format (JSF)."""

    algorithm: Literal["Ed25519"]
    keyId: str = Field(description="The `kid` of a key in `GET /api/v1/receipts/keys`")  # noqa: N815 - as JSF calls it
    value: str = Field(
        description="64 bytes in base64url without padding: the signature of the receipt in canonical JSON (RFC 8785)"
        " without this member",
        pattern="^[A-Za-z0-9_-]{86}$",
    )


class Receipt(BaseModel):
    """The final balance of an import: `rows_read` is the sum of the five counts that follow. Counts are records."""

    import_id: UUID
    dataset: str
    dataset_version: int
    source: str | None = Field(description="Who sent the file")
    file_name: str
    file_size: int = Field(description="Bytes, unpacked")
    sha256: str = Field(description="Of the file, unpacked, in hexadecimal digits")
    dialect: Dialect = Field(description="How the file is written")
    explanation: DialectExplanation | None = Field(description="Why it is read so")
    options: ImportOptions = Field(description="As the upload asked")
    date_orders: dict[str, str] | None = Field(description="How dates such as 03/04/2024 are read, by column")
    notes: dict[str, int] = Field(description="What was read in one of several possible ways, counted")
    run: int = Field(description="1, and one more with each retry")
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_duplicate: int
    rows_rejected: int
    error_counts: list[ErrorCount] = Field(description="The most frequent first")
    processing_started_at: datetime
    processing_completed_at: datetime
    duration_seconds: float
    rows_per_second: float
    signature: Signature


class PublicKey(BaseModel):
    """A JSON Web Key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str = Field(description="The key, 32 bytes in base64url without padding")
    kid: str = Field(description="Its thumbprint (RFC 7638)")
    use: Literal["sig"]
    alg: Literal["EdDSA"]


class PublicKeys(BaseModel):
    """A JWK Set (RFC 7517). The first key is the one that signs now."""

    keys: list[PublicKey]
