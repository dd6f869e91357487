"""The guard of all connections that webhooks make: it looks hosts up, and gives out only addresses it has vetted.

Connections are made to exactly the addresses it gives, so that a name cannot lead elsewhere between the look and the
dial (DNS rebinding). A connection that is kept open is not vetted anew: it leads where it led.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from services.notifier.targets.addresses import Address, address_of
from services.notifier.targets.errors import TargetUnresolvable
from services.notifier.targets.policy import TargetPolicy
from services.notifier.targets.resolver import Resolver

KEPT_TARGETS = 4096  # URLs that are called over and over; one takes some 3 kB at most


class Guard:
    """Judges where webhooks may go, by the operator's policy.

    Attributes:
        target: `TargetPolicy.target`, its answers kept.
    """

    def __init__(self, policy: TargetPolicy, resolver: Resolver) -> None:
        self.policy = policy
        self.target = lru_cache(KEPT_TARGETS)(policy.target)
        self._resolver = resolver

    async def check(self, url: str) -> None:
        """Refuse a URL that can never be called, where an endpoint is created or changed.

        A host without an address is let through: it may get one, and every dial looks again.

        Raises:
            ValueError: it cannot be read; the message says what to write instead.
            TargetForbidden: webhooks may not go there; its `hint` says what to do.
        """
        host = self.target(url).raw_host or ""
        if address_of(host) is None:
            with suppress(TargetUnresolvable):
                await self.addresses(host)

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses to dial for the name `host`: looked up once, here, and all of them vetted.

        Raises:
            TargetForbidden: any of them is forbidden.
            TargetUnresolvable: there is none.
        """
        addresses = await self._resolver.addresses(host)
        self.policy.require(*addresses)
        return addresses

    async def close(self) -> None:
        await self._resolver.close()
