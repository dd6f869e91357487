"""Places for what only so many may do at a time in a process, of which no tenant has them all."""

import asyncio
from collections import Counter


class Places:
    """Those of one process, given in the order they are asked for; a tenant that has its share waits until it has less."""

    def __init__(self, count: int, share: int) -> None:
        self._free = count
        self._share = share
        self._held: Counter[str] = Counter()
        self._waiting: dict[asyncio.Future[None], str] = {}

    async def take(self, tenant: str) -> None:
        """Wait for a place, and have it until `give_back`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = tenant
        self._hand_out()
        try:
            await waiter
        except asyncio.CancelledError:
            if not self._waiting.pop(waiter, None):
                self.give_back(tenant)
            raise

    def give_back(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        self._held += Counter()  # forgets who has none
        self._hand_out()

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._waiting)

    def _hand_out(self) -> None:
        for waiter, tenant in list(self._waiting.items()):
            if not self._free:
                return
            if self._held[tenant] >= self._share:
                continue
            del self._waiting[waiter]
            self._free -= 1
            self._held[tenant] += 1
            if not waiter.done():
                waiter.set_result(None)
