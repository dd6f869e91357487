"""Where webhooks may go: addresses, the vectors that others can use too, and names that change what they lead to."""

import json
import socket
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.notifier.delivery.sender import Sender
from services.notifier.targets.errors import TargetForbidden, TargetUnresolvable
from services.notifier.targets.guard import Guard
from services.notifier.targets.policy import PortRange, TargetPolicy
from services.notifier.targets.resolver import Resolver
from services.notifier.targets.urls import parsed
from tests.notifier.name_server import name_server
from tests.notifier.peer import Says, peer

VECTORS = json.loads(Path(__file__).with_name("ssrf_vectors.json").read_text())
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
STRICT = TargetPolicy()
LOOPBACK_TWO = TargetPolicy(allow_networks=[ip_network("127.0.0.2/32")])


@asynccontextmanager
async def guarding(policy, server):
    guard = Guard(policy, Resolver([server.address]))
    yield guard
    await guard.close()


@asynccontextmanager
async def sending(policy, server, *, seconds=5):
    """A sender that looks hosts up at `server`, and the guard that it obeys."""
    async with guarding(policy, server) as guard:
        sender = Sender(guard, total_seconds=seconds)
        yield sender, guard
        await sender.close()


def vectors(verdict):
    found = [vector for vector in VECTORS["vectors"] if vector["verdict"] == verdict]
    assert len(found) >= 40
    return found


async def test_the_vectors_where_an_endpoint_is_made():
    async with name_server(VECTORS["names"]) as server, guarding(STRICT, server) as guard:
        for vector in vectors("allowed"):
            await guard.check(vector["url"])
        for vector in vectors("refused"):
            with pytest.raises((ValueError, TargetForbidden), match=r"."):
                await guard.check(vector["url"])


async def test_what_is_refused_is_not_dialled():
    with _listener() as listener:
        port = listener.getsockname()[1]
        async with name_server(VECTORS["names"]) as server:
            async with sending(STRICT, server) as (sender, _):
                for vector in vectors("refused"):
                    attempt = await sender.post(vector["url"].replace(":8080", f":{port}"), {}, b"{}")
                    assert (attempt.response_status, bool(attempt.error)) == (None, True), vector
                    assert attempt.error != "internal error", vector
            with pytest.raises(BlockingIOError):
                listener.accept()
            # The same listener hears of one that may go there.
            async with sending(TargetPolicy(allow_private=True), server, seconds=0.2) as (sender, _):
                await sender.post(f"http://localhost:{port}/", {}, b"{}")
            listener.accept()[0].close()


def _listener():
    """A socket on all addresses that takes connections in and never answers."""
    if socket.has_dualstack_ipv6():
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listener = socket.create_server(("", 0))
    listener.setblocking(False)
    return listener


# Independent of the table under test: the standard library's view of IPv4, and arithmetic on text for what is embedded.
_EMBEDDINGS = (
    "::ffff:{}",
    "::{}",
    "::ffff:0:{}",
    "64:ff9b::{}",
    "64:ff9b:1::{}",
    "2a00:1450::5efe:{}",
    "2a00:1450::200:5efe:{}",
    "fe80::5efe:{}",
)


_NOT_GLOBAL_V4 = st.ip_addresses(v=4).filter(lambda address: not address.is_global or address.is_multicast)


@given(_NOT_GLOBAL_V4)
@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("100.64.0.1"))
def test_an_ipv4_address_that_is_not_global_is_refused_in_every_spelling(address):
    assert not STRICT.permits(address)
    high, low = f"{int(address):08x}"[:4], f"{int(address):08x}"[4:]
    spellings = [form.format(address) for form in _EMBEDDINGS]
    spellings += [f"2002:{high}:{low}::1", f"2001:0:{high}:{low}::1"]
    inverted = f"{int(address) ^ 0xFFFFFFFF:08x}"
    spellings += [f"2001:0:808:808:0:0:{inverted[:4]}:{inverted[4:]}"]
    assert [one for one in spellings if STRICT.permits(IPv6Address(one))] == []


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_that_is_not_global_is_permitted(address):
    embedded = address.ipv4_mapped or address.sixtofour
    if not (embedded or address).is_global and address not in ip_network("64:ff9b::/96"):
        assert not STRICT.permits(address)


PRIVATE = """
    10.1.2.3 127.0.0.1 192.168.0.1 172.31.0.1 100.64.0.1 ::1 fd00::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::
"""
SPECIAL = """
    169.254.169.254 0.0.0.0 224.0.0.1 192.0.2.1 240.0.0.1 :: fe80::1 ff02::1 2001:db8::1 fec0::1 ::127.0.0.1
    ::ffff:169.254.1.1 fd00::5efe:169.254.169.254 2002:a9fe:a9fe::1
"""


@pytest.mark.parametrize(("listed", "opened"), [(PRIVATE, True), (SPECIAL, False)])
def test_private_addresses_can_be_opened_and_special_ones_cannot(listed, opened):
    for text in listed.split():
        address = ip_address(text)
        assert not STRICT.permits(address)
        assert TargetPolicy(allow_private=True).permits(address) is opened, text


def test_networks_that_are_named_are_opened_and_no_others():
    policy = TargetPolicy(allow_networks=[ip_network("169.254.169.0/24"), ip_network("fd00::/8")])
    for url in ("http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://[fd00::1]/"):
        policy.target(url)
    for url in ("http://169.254.170.2/", "http://[fc00::1]/", "http://10.0.0.1/", "http://[::1]/"):
        with pytest.raises(TargetForbidden):
            policy.target(url)


def test_schemes_and_ports_are_the_operators():
    policy = TargetPolicy(schemes=["https"], ports=[PortRange(443, 443), PortRange(8000, 8999)])
    policy.target("https://hook.example/")
    policy.target("https://hook.example:8999/")
    with pytest.raises(TargetForbidden, match="http URLs") as refused:
        policy.target("http://hook.example:8000/")
    assert refused.value.hint == "use one that begins with https://"
    with pytest.raises(TargetForbidden, match="port 9000") as refused:
        policy.target("https://hook.example:9000/")
    assert refused.value.hint == "use one of 443, 8000-8999"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1.", "an address with a dot at its end; write 127.0.0.1, without the dot"),
        ("256.0.0.1.", "not an address of four decimal numbers"),
        ("127.1", "not an address of four decimal numbers"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(host, message):
    with pytest.raises(ValueError, match=message):
        parsed(f"http://{host}:8080/hook")


# Names, with a real name server.


async def test_a_name_that_leads_to_loopback_later_is_not_dialled():
    async with peer() as receiver, name_server() as server, sending(STRICT, server) as (sender, guard):
        server.addresses["rebinding.example"] = [["1.1.1.1"], ["127.0.0.1"]]
        url = f"http://rebinding.example:{receiver.port}/"
        await guard.check(url)
        attempt = await sender.post(url, {}, b"{}")
        assert (attempt.error or "").startswith("the host leads to an address that webhooks may not call")
        assert receiver.connections == 0
        assert server.asked == ["rebinding.example"] * 2


async def test_the_address_that_was_vetted_is_the_one_that_is_dialled():
    async with (
        peer(Says(), Says(LAST), host="127.0.0.2") as vetted,
        peer(port=vetted.port) as other,
        name_server() as server,
        sending(LOOPBACK_TWO, server) as (sender, _),
    ):
        server.addresses["rebinding.example"] = [["127.0.0.2"], ["127.0.0.1"]]
        url = f"http://rebinding.example:{vetted.port}/hook"
        assert (await sender.post(url, {}, b"{}")).succeeded
        assert server.asked == ["rebinding.example"]
        assert vetted.header("host") == [f"rebinding.example:{vetted.port}"]
        # The connection is kept, and leads where it led; nothing is looked up for it.
        assert (await sender.post(url, {}, b"{}")).succeeded
        assert server.asked == ["rebinding.example"]
        # Now it is closed, and the next one is vetted anew.
        assert "may not call" in ((await sender.post(url, {}, b"{}")).error or "")
        assert server.asked == ["rebinding.example"] * 2
        assert (len(vetted.bodies), other.connections) == (2, 0)


async def test_one_forbidden_address_among_several_is_enough():
    names = {"mixed.example": ["127.0.0.2", "127.0.0.1"], "both.example": ["127.0.0.2", "::1"]}
    async with (
        peer(host="127.0.0.2") as receiver,
        name_server(names) as server,
        sending(LOOPBACK_TWO, server) as (sender, _),
    ):
        for name in names:
            attempt = await sender.post(f"http://{name}:{receiver.port}/", {}, b"{}")
            assert "may not call" in (attempt.error or "")
        assert receiver.connections == 0


async def test_an_alias_of_localhost_leads_to_localhost():
    async with name_server({"localhost": ["127.0.0.1"]}) as server, guarding(STRICT, server) as guard:
        server.aliases["alias.example"] = "localhost"
        with pytest.raises(TargetForbidden):
            await guard.check("http://alias.example/")
        with pytest.raises(TargetForbidden):
            await guard.addresses("alias.example")


async def test_a_name_without_an_address_may_get_one():
    async with name_server() as server, guarding(STRICT, server) as guard:
        await guard.check("http://soon.example/")
        with pytest.raises(TargetUnresolvable, match="no address"):
            await guard.addresses("soon.example")
        server.addresses["soon.example"] = [["1.1.1.1"]]
        assert list(map(str, await guard.addresses("soon.example"))) == ["1.1.1.1"]
