"""Looking hosts up, with a real name server."""

import asyncio
from pathlib import Path

import pytest

from services.notifier.targets import resolver as resolving
from services.notifier.targets.errors import TargetUnresolvable
from services.notifier.targets.resolver import Resolver
from tests.notifier.name_server import name_server
from tests.notifier.receiver import until

HOSTS = [line.partition("#")[0] for line in Path("/etc/hosts").read_text().splitlines()]


@pytest.fixture
async def server():
    async with name_server() as running:
        yield running


@pytest.fixture
async def resolver(server):
    resolver = Resolver([server.address])
    yield resolver
    await resolver.close()


async def looked_up(resolver, host):
    return {str(address) for address in await resolver.addresses(host)}


async def test_addresses_of_both_kinds(server, resolver):
    server.addresses["hook.example"] = [["1.1.1.1", "1.0.0.1", "2606:4700::1111"]]
    assert await looked_up(resolver, "hook.example") == {"1.1.1.1", "1.0.0.1", "2606:4700::1111"}
    assert await looked_up(resolver, "hook.example.") == {"1.1.1.1", "1.0.0.1", "2606:4700::1111"}


async def test_an_answer_is_kept_as_long_as_it_says(server, resolver):
    server.addresses["hook.example"] = [["1.1.1.1"], ["2.2.2.2"]]
    assert await looked_up(resolver, "hook.example") == {"1.1.1.1"}
    assert await looked_up(resolver, "hook.example") == {"2.2.2.2"}  # it said: for no time at all
    server.ttl = 60
    server.addresses["kept.example"] = [["1.1.1.1"], ["2.2.2.2"]]
    assert [await looked_up(resolver, "kept.example") for _ in range(3)] == [{"1.1.1.1"}] * 3
    assert server.asked == ["hook.example", "hook.example", "kept.example"]


async def test_no_search_domain_is_tried(server, monkeypatch):
    monkeypatch.setenv("LOCALDOMAIN", "corp.example")
    server.addresses["intranet.corp.example"] = [["10.1.2.3"]]
    resolver = Resolver([server.address])
    with pytest.raises(TargetUnresolvable, match="the host has no address"):
        await resolver.addresses("intranet")
    assert server.asked == ["intranet"]
    await resolver.close()


async def test_the_hosts_file_comes_first(server, resolver):
    names = [name for line in HOSTS for name in line.split()[1:] if "localhost" not in name]
    if not names:
        pytest.skip("this machine's /etc/hosts has only localhost")
    server.addresses[names[0]] = [["1.1.1.1"]]
    assert "1.1.1.1" not in await looked_up(resolver, names[0])
    assert server.asked == []


async def test_a_name_server_that_is_silent_is_not_waited_for_long(server, resolver, monkeypatch):
    monkeypatch.setattr(resolving, "RESOLVE_SECONDS", 0.2)
    server.silent = True
    with pytest.raises(TargetUnresolvable, match=r"the name server does not answer within 0\.2 s"):
        await resolver.addresses("hook.example")
    server.silent = False
    server.addresses["hook.example"] = [["1.1.1.1"]]
    assert await looked_up(resolver, "hook.example") == {"1.1.1.1"}


async def test_look_ups_can_be_given_up_and_only_so_many_are_under_way(server):
    server.silent = True
    resolver = Resolver([server.address], lookups=2)
    lookups = [asyncio.create_task(resolver.addresses(f"{number}.example")) for number in range(6)]
    await until(lambda: len(set(server.asked)) == 2)
    await asyncio.sleep(0.05)
    assert set(server.asked) == {"0.example", "1.example"}
    lookups[0].cancel()
    await until(lambda: len(set(server.asked)) == 3)
    for lookup in lookups[1:]:
        lookup.cancel()
    ended = await asyncio.gather(*lookups, return_exceptions=True)
    assert {type(error) for error in ended} == {asyncio.CancelledError}
    await resolver.close()


async def test_a_name_that_cannot_be_asked_for(resolver):
    with pytest.raises(TargetUnresolvable):
        await resolver.addresses("a" * 70 + ".example")
