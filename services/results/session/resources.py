"""What the API takes and shows of sessions."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.scopes import Scope


class NewSession(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str = Field(description="A JWT or an API key.")


class Session(BaseModel):
    """Who calls."""

    subject: str
    tenant: str
    scopes: list[Scope] = Field(description="What the caller may do.")
    expires_at: datetime | None = Field(description="Until when; null: an API key that does not expire.")
