"""Settings of the results service."""

from shared.platform.settings import PlatformSettings


class Settings(PlatformSettings):
    """The environment of `penstock serve results`: what every service has, and nothing more."""
