"""Settings of the results service."""

from shared.platform.settings import ApiSettings


class Settings(ApiSettings):
    """The environment of `penstock serve results`: what every service with an API has."""
