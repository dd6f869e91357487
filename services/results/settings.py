"""Settings of the results service."""

from shared.platform.settings import ApiSettings, StoreSettings


class Settings(ApiSettings, StoreSettings):
    """The environment of `penstock serve results`. The store is where error files are read from."""
