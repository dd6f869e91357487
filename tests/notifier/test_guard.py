"""Where webhooks may go: vectors of addresses and URLs, and name servers that do not answer."""

import asyncio
import socket
import subprocess
import sys
import threading
from ipaddress import ip_address

import httpx
import pytest

from services.notifier.guard import (
    Resolver,
    TargetForbidden,
    TargetUnresolvable,
    is_forbidden,
    parsed,
    vetted_address,
)

FORBIDDEN = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
    198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1
    ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1
    64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::7f00:1 100::1 2001::1 2001:0:7f00:1:0:0:f5ff:fffe
    2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1
    2002:a9fe:a9fe::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 4000::1
    2a00:1450::5efe:7f00:1 2a00:1450::200:5efe:a00:1
"""
ALLOWED = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
    169.253.255.255 172.15.255.255 172.32.0.1 192.167.255.255 198.17.255.255 198.20.0.1 223.255.255.255
    2606:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1
    2a00:1450::5efe:808:808
"""


@pytest.mark.parametrize("address", FORBIDDEN.split())
def test_forbidden(address):
    assert is_forbidden(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED.split())
def test_allowed(address):
    assert not is_forbidden(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user:secret@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://example.com/\r\nX-Evil: 1",
        "http://１２７.0.0.1/",
        "http://0177.0.0.1/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_malformed_urls(url):
    with pytest.raises(ValueError, match=r"."):
        parsed(url)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1", "localhost", "[::1]"])
async def test_every_spelling_of_loopback_is_judged_by_what_it_resolves_to(host):
    with pytest.raises(TargetForbidden):
        await vetted_address(parsed(f"http://{host}/"), allow_private=False, resolve=Resolver())


async def test_one_forbidden_address_among_several_is_enough():
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    target = httpx.URL("https://rebinding.example/")
    with pytest.raises(TargetForbidden):
        await vetted_address(target, allow_private=False, resolve=resolve)
    assert await vetted_address(target, allow_private=True, resolve=resolve) == "8.8.8.8"


async def test_the_resolver_gets_the_ascii_name_and_the_port():
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["8.8.8.8"]

    for url in ("https://bücher.example/", "http://example.com/", "http://example.com:8080/"):
        await vetted_address(parsed(url), allow_private=False, resolve=resolve)
    assert asked == [("xn--bcher-kva.example", 443), ("example.com", 80), ("example.com", 8080)]


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 70 + ".example"])
async def test_unknown_hosts(host):
    with pytest.raises(TargetUnresolvable):
        await Resolver()(host, 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "8.8.8.8"])
async def test_an_address_is_not_looked_up(host):
    async def resolve(host: str, port: int) -> list[str]:
        pytest.fail("asked")

    found = await vetted_address(parsed(f"http://{host}/"), allow_private=True, resolve=resolve)
    assert found == host.strip("[]")


@pytest.fixture
def name_server_away(monkeypatch):
    """Look-ups hang until the test ends; the names that were asked for."""
    asked, over = [], threading.Event()

    def hang(host, *_, **__):
        asked.append(host)
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr("services.notifier.guard.socket.getaddrinfo", hang)
    monkeypatch.setattr("services.notifier.guard.RESOLVE_SECONDS", 0.2)
    yield asked
    over.set()


async def test_a_name_server_that_hangs_holds_up_nothing_else(name_server_away):
    resolve = Resolver(lookups=2)
    lookups = [asyncio.create_task(resolve(f"{number}.example", 80)) for number in range(50)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.1):
        assert await asyncio.to_thread(lambda: "done") == "done"
    ended = await asyncio.gather(*lookups, return_exceptions=True)
    assert {type(error) for error in ended} == {TargetUnresolvable}
    assert name_server_away == ["0.example", "1.example"]


async def test_a_place_is_free_again_when_the_name_server_has_answered(monkeypatch):
    def no_such_host(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr("services.notifier.guard.socket.getaddrinfo", no_such_host)
    resolve = Resolver(lookups=1)
    for _ in range(3):
        with pytest.raises(TargetUnresolvable):
            await resolve("nowhere.example", 80)


def test_a_process_ends_without_waiting_for_a_name_server():
    program = """
import asyncio, socket, time
from services.notifier import guard

socket.getaddrinfo = lambda *_, **__: time.sleep(60)
guard.RESOLVE_SECONDS = 0.1
try:
    asyncio.run(guard.Resolver()("example.com", 80))
except guard.TargetUnresolvable:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "refused\n"
