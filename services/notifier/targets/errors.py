"""Why a URL is not called.

    TargetRefused
    ├── TargetForbidden      its scheme, its port or an address of its host is one that webhooks may not call
    └── TargetUnresolvable   its host has no address at present

A URL that cannot be read at all is a ValueError.
"""


class TargetRefused(Exception):
    """The URL is not called now. The attempt fails and is recorded; later ones look the host up anew."""


class TargetForbidden(TargetRefused):
    """The URL leads where webhooks may not go.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class TargetUnresolvable(TargetRefused):
    """The host has no address, or none that could be found out in time."""
