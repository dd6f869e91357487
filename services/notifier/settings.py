"""The notifier's settings."""

from pydantic import Field

from shared.platform.settings import ApiSettings


class Settings(ApiSettings):
    """The environment variables `PENSTOCK_*` that the notifier reads."""

    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may go to private and loopback addresses (for development)."
    )
    webhook_retry_scale: float = Field(
        1.0, gt=0, description="Factor on every delay of the webhook retry schedule; below 1 for trials."
    )
