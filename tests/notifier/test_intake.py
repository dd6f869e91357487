"""Events that come together are logged together: one transaction of a tenant at a time, however many ask."""

import asyncio
from collections import Counter

from services.notifier.logbook.intake import Intake


class Observed(Intake):
    """Tells what is logged together; nothing is kept."""

    def __init__(self):
        super().__init__(engine=None, logbook=None)
        self.at_once = Counter()
        self.most_at_once = Counter()
        self.batches = 0

    async def _log(self, tenant, batches):
        self.at_once[tenant] += 1
        self.most_at_once[tenant] = max(self.most_at_once[tenant], self.at_once[tenant])
        self.batches += 1
        await asyncio.sleep(0.001)
        self.at_once[tenant] -= 1
        return batches


async def test_who_asks_again_and_again_never_makes_two_transactions_of_a_tenant_at_once():
    intake = Observed()

    async def pipeline(number):
        for event in range(10):
            asked = [f"{number}-{event}"]
            assert await intake.log(("one", "other")[number % 2], asked) == asked

    await asyncio.gather(*(pipeline(number) for number in range(40)))
    assert intake.most_at_once == {"one": 1, "other": 1}
    assert intake.batches < 60, "twenty pipelines of each tenant ask ten times, and are answered together"
    assert not intake._tenants, "who has logged everything is forgotten"
