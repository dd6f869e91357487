"""Where a webhook may go: resolved once, judged by an own table, dialled at exactly the judged address.

`ipaddress.is_global` is not enough: it accepts IPv6 spellings of 127.0.0.1.

    TargetRefused
    ├── TargetForbidden      one of the host's addresses is private, loopback, reserved, …
    └── TargetUnresolvable   the host has no address at present
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Thread

import httpx

MAX_URL_LENGTH = 2048
RESOLVE_SECONDS = 5.0
LOOKUPS = (
    8  # at once; one that hangs takes up to 30 s, so that a name server that is away must not collect threads
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class TargetRefused(Exception):
    """The URL is not called now. The attempt fails and is recorded; later ones resolve the host anew."""


class TargetForbidden(TargetRefused):
    """The host leads to an address that webhooks may not call."""


class TargetUnresolvable(TargetRefused):
    """The host has no address."""


# IANA special-purpose registry (RFC 6890 and its updates), plus multicast.
_DENIED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and with it every cloud's metadata service
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")  # the only block of global unicast addresses; all else is denied
_DENIED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, with Teredo, benchmarking and ORCHID
        "2001:db8::/32",
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_MAPPED = IPv6Network("::ffff:0:0/96")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214, section 6.1


def is_forbidden(address: IPv4Address | IPv6Address) -> bool:
    """Whether webhooks may not call `address`. An IPv4 address inside an IPv6 one is judged as itself."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _DENIED_V4)
    if address in _MAPPED or address in _NAT64:
        return is_forbidden(_low_v4(address))
    if address not in _GLOBAL_V6 or any(address in network for network in _DENIED_V6):
        return True
    if address in _6TO4 and is_forbidden(IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)):
        return True
    return (int(address) >> 32 & 0xFFFF_FFFF) in _ISATAP and is_forbidden(_low_v4(address))


def _low_v4(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def parsed(url: str) -> httpx.URL:
    """`url` as the client that dials it reads it: one parser, so nothing can be read in two ways.

    Raises:
        ValueError: not an absolute http or https URL, or one with a user name, a zone or an impossible port.
    """
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"longer than {MAX_URL_LENGTH} characters")
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    if target.scheme not in {"http", "https"}:
        raise ValueError("the scheme must be http or https")
    if not target.host or "%" in target.host:
        raise ValueError("the host is missing or malformed")
    if target.userinfo:
        raise ValueError("credentials in a URL would be shown to all who list it")
    if target.port is not None and not 1 <= target.port <= 65535:
        raise ValueError("the port must be between 1 and 65535")
    return target


async def vetted_address(target: httpx.URL, *, allow_private: bool, resolve: Resolve) -> str:
    """The address to dial for `target`: its host is resolved once, here; one that is an address already, never.

    Raises:
        TargetForbidden: any of the addresses is forbidden, unless `allow_private`.
        TargetUnresolvable: there is none.
    """
    addresses = await _addresses(target, resolve)
    if not addresses:
        raise TargetUnresolvable("the host has no address")
    if not allow_private and any(is_forbidden(address) for address in addresses):
        raise TargetForbidden("the host leads to an address that webhooks may not call")
    return str(addresses[0])


async def _addresses(target: httpx.URL, resolve: Resolve) -> list[IPv4Address | IPv6Address]:
    host = target.raw_host.decode("ascii")
    with suppress(ValueError):
        return [ip_address(host)]
    port = target.port or (443 if target.scheme == "https" else 80)
    return [ip_address(address) for address in await resolve(host, port)]


class Resolver:
    """Looks hosts up with the system's resolver, in threads of its own.

    getaddrinfo hangs as long as a name server does, and cannot be stopped. In asyncio's threads it would hold up
    all that the process does there, and its end; these here are few, and nobody waits for them.
    """

    def __init__(self, lookups: int = LOOKUPS) -> None:
        self._room = asyncio.Semaphore(lookups)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of `host`, best first (RFC 6724). It reads octal and hex IPv4 too.

        Raises:
            TargetUnresolvable: unknown host, or no answer within 5 s.
        """
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await self._room.acquire()
                return await self._looked_up(host, port)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise TargetUnresolvable("the host cannot be resolved") from error

    def _looked_up(self, host: str, port: int) -> "asyncio.Future[list[str]]":
        """Ask in a new thread, which gives its place back when it ends, however long that takes."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def look() -> None:
            found: list[str] | Exception
            try:
                entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                found = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        def settle(found: list[str] | Exception) -> None:
            self._room.release()
            if answer.done():  # given up
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        try:
            Thread(target=look, name="notifier.lookup", daemon=True).start()
        except RuntimeError:  # the process may have no more threads
            self._room.release()
            raise
        return answer
