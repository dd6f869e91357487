"""What comes at the same time is done together, and each answers for itself."""

import asyncio

import pytest

from services.notifier.gathering import MOST, Gathering


class Doubling:
    """Doubles numbers; `bad` ones cannot be."""

    def __init__(self, *bad):
        self.bad = set(bad)
        self.calls = []
        self.gather = Gathering(self.together)

    async def together(self, numbers):
        self.calls.append(list(numbers))
        await asyncio.sleep(0)
        if wrong := self.bad.intersection(numbers):
            raise ValueError(sorted(wrong))
        return [2 * number for number in numbers]


async def test_while_one_call_is_under_way_the_next_one_gathers():
    doubling = Doubling()
    numbers = range(2 * MOST)
    assert await asyncio.gather(*map(doubling.gather, numbers)) == [2 * number for number in numbers]
    assert [len(call) for call in doubling.calls] == [MOST, MOST]
    assert await doubling.gather(7) == 14


async def test_what_fails_fails_for_itself_only():
    doubling = Doubling(2, 3)
    answers = await asyncio.gather(*map(doubling.gather, range(5)), return_exceptions=True)
    assert [answer if isinstance(answer, int) else str(answer) for answer in answers] == [
        0,
        2,
        "[2]",
        "[3]",
        8,
    ]
    with pytest.raises(ValueError, match="2"):
        await doubling.gather(2)
    assert doubling.calls[-1] == [2]


async def test_who_goes_away_holds_up_nobody():
    doubling = Doubling()
    first, second = (asyncio.create_task(doubling.gather(number)) for number in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    assert first.cancelled()
