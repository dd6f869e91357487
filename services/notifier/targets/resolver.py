"""Looking up the addresses of a host, with c-ares: it can be given up, and holds no thread meanwhile."""

import asyncio
import re
from collections.abc import Sequence
from ipaddress import ip_address

import aiodns
import pycares
from aiodns.error import ARES_ENODATA, ARES_ENOTFOUND, DNSError

from services.notifier.targets.addresses import Address
from services.notifier.targets.errors import TargetUnresolvable

RESOLVE_SECONDS = 4.5  # of the 5 that a connection may take, so that an attempt can tell what was missing
# At once: as many as there are attempts. One whose name server is away holds its place all that time, and a tenant whose
# name servers are all away must not take those of others; it costs a few hundred bytes and no socket of its own.
LOOKUPS = 1000
QUERY_SECONDS = 1.0  # until one is asked again, less if it has been quick; each time twice as long
QUERY_TRIES = 5
# A host in a URL is a whole name: no search domains are tried.
_FLAGS = pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS

_NAME_SERVER = re.compile(
    r"([0-9.]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?::([0-9]{1,5}))?"
)


class Resolver:
    """Looks hosts up in /etc/hosts, then asks name servers.

    Answers are kept for as long as their time to live says.

    Args:
        nameservers: Addresses, as in `1.1.1.1`, `1.1.1.1:5353` or `[2606:4700::1111]:53`; none: the system's.
        lookups: How many at once; more wait.
    """

    def __init__(self, nameservers: Sequence[str] = (), *, lookups: int = LOOKUPS) -> None:
        self._nameservers = nameservers
        self._room = asyncio.Semaphore(lookups)
        self._resolver: aiodns.DNSResolver | None = None

    async def addresses(self, host: str) -> Sequence[Address]:
        """All addresses of `host`, IPv4 and IPv6, best first (RFC 6724); at least one.

        Raises:
            TargetUnresolvable: there is none, or no answer within 4.5 s.
        """
        try:
            async with asyncio.timeout(RESOLVE_SECONDS), self._room:
                found = await self._channel().getaddrinfo(host.rstrip("."))
        except DNSError as error:
            raise TargetUnresolvable(_in_words(error)) from error
        except TimeoutError as error:
            raise TargetUnresolvable(
                f"the name server does not answer within {RESOLVE_SECONDS:g} s"
            ) from error
        addresses = dict.fromkeys(ip_address(node.addr[0].decode()) for node in found.nodes)
        if not addresses:
            raise TargetUnresolvable("the host has no address")
        return tuple(addresses)

    async def close(self) -> None:
        """Give up what is being looked up."""
        if self._resolver:
            await self._resolver.close()
            self._resolver = None

    def _channel(self) -> aiodns.DNSResolver:
        # Made at the first look-up: it belongs to the event loop that runs then. Files come before DNS, as everywhere;
        # `lookups` is not given, as pycares 5.2 hands its text to c-ares when that is freed already.
        if self._resolver is None:
            self._resolver = aiodns.DNSResolver(
                self._nameservers or None,
                timeout=QUERY_SECONDS,
                tries=QUERY_TRIES,
                flags=_FLAGS,
            )
        return self._resolver


def _in_words(error: DNSError) -> str:
    if error.args[0] in {ARES_ENOTFOUND, ARES_ENODATA}:
        return "the host has no address"
    return "the host cannot be resolved at present"


def read_nameserver(text: str) -> str:
    """`text`, if it is an address with or without a port, as in `1.1.1.1:53` or `[2606:4700::1111]:53`.

    Raises:
        ValueError: it is something else; a name server has no name, as nobody could look that up.
    """
    found = _NAME_SERVER.fullmatch(text)
    try:
        ip_address(found[1].strip("[]") if found else text)
    except ValueError:
        found = None
    if not found or not 1 <= int(found[2] or 53) <= 65535:
        raise ValueError(f"{text!r} is no name server; write its address, as in 1.1.1.1 or 1.1.1.1:53")
    return text
