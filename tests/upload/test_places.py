"""Places for large uploads: how many at once, and whose."""

import asyncio

import pytest

from services.upload.places import FREE_BYTES, Place
from shared.platform.places import Places


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def taken(places, tenant):
    task = asyncio.create_task(places.take(tenant))
    await settled()
    return task


async def test_only_so_many_at_once_in_the_order_they_are_asked_for():
    places = Places(2, share=2)
    first, second, third, fourth = [await taken(places, name) for name in "abcd"]
    assert [task.done() for task in (first, second, third, fourth)] == [True, True, False, False]
    assert places.are_wanted
    places.give_back("a")
    await settled()
    assert (third.done(), fourth.done()) == (True, False)
    places.give_back("b")
    await fourth
    assert not places.are_wanted


async def test_one_tenant_has_its_share_and_the_others_pass_it():
    places = Places(3, share=2)
    mine = [await taken(places, "mine") for _ in range(4)]
    assert [task.done() for task in mine] == [True, True, False, False]
    assert (await taken(places, "yours")).done()
    places.give_back("yours")
    await settled()
    assert not mine[2].done()
    places.give_back("mine")
    await mine[2]
    mine[3].cancel()
    await asyncio.gather(mine[3], return_exceptions=True)
    for _ in range(2):
        places.give_back("mine")
    again = [await taken(places, name) for name in ("mine", "mine", "yours")]
    assert all(task.done() for task in again)


async def test_who_stops_waiting_leaves_its_turn():
    places = Places(1, share=1)
    await places.take("a")
    waiting = await taken(places, "b")
    next_one = await taken(places, "c")
    waiting.cancel()
    places.give_back("a")  # in the same moment
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await next_one
    places.give_back("c")
    await places.take("d")


async def chunks(*lengths):
    for length in lengths:
        yield bytes(length)


async def test_a_small_file_needs_none_and_a_large_one_gives_its_back():
    places = Places(1, share=1)
    await places.take("other")
    async with Place(places, "a") as place:
        assert sum([len(chunk) async for chunk in place.paced(chunks(FREE_BYTES))]) == FREE_BYTES
    places.give_back("other")
    for _ in range(3):
        async with Place(places, "a") as place:
            lengths = [len(chunk) async for chunk in place.paced(chunks(FREE_BYTES, 1, 2))]
            assert lengths == [FREE_BYTES, 1, 2]


async def test_who_keeps_a_wanted_place_without_sending_loses_it(monkeypatch):
    """One byte now and then is no sending."""
    monkeypatch.setattr("services.upload.places.PATIENCE_SECONDS", 0.2)
    places = Places(1, share=1)

    async def dribbling():
        yield bytes(FREE_BYTES + 1)
        while True:
            await asyncio.sleep(0.02)
            yield b"x"

    async def hold():
        async with Place(places, "a") as place:
            async for _ in place.paced(dribbling()):
                pass

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.5)
    assert not holding.done()  # nobody else wants it
    await asyncio.wait_for(places.take("b"), 10)
    with pytest.raises(Exception, match="too little"):
        await holding
