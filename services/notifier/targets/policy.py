"""What the operator lets webhooks call: schemes, ports, addresses. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from yarl import URL

from services.notifier.targets.addresses import Address, Network, Reach, address_of, reach_of, unmapped
from services.notifier.targets.errors import TargetForbidden
from services.notifier.targets.urls import parsed

MAX_PORT = 65535

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class PortRange:
    """Ports from `first` to `last`, both with it."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, kw_only=True)
class TargetPolicy:
    """Where webhooks may go.

    Attributes:
        allow_private: Loopback, RFC 1918, unique local and carrier-grade NAT addresses may be called.
        allow_networks: What may be called though it would be forbidden.
    """

    schemes: Sequence[str] = ("https", "http")
    ports: Sequence[PortRange] = (PortRange(80, 80), PortRange(443, 443), PortRange(1024, MAX_PORT))
    allow_private: bool = False
    allow_networks: Sequence[Network] = ()

    def permits(self, address: Address) -> bool:
        """Whether a connection to `address` may be made."""
        reach, address = reach_of(address), unmapped(address)
        if reach is Reach.PUBLIC or (reach is Reach.PRIVATE and self.allow_private):
            return True
        return any(address in network for network in self.allow_networks)

    def target(self, url: str) -> URL:
        """`url`, read and judged as far as that needs no look at its host's addresses.

        Raises:
            ValueError: it cannot be read; see `parsed`.
            TargetForbidden: its scheme or its port is not among those that may be called, or its host is a
                forbidden address.
        """
        target = parsed(url)
        if target.scheme not in self.schemes:
            raise TargetForbidden(
                f"webhooks may not go to {target.scheme} URLs",
                hint=f"use one that begins with {self.schemes[0]}://",
            )
        port = target.port or 0
        if not any(port in ports for ports in self.ports):
            raise TargetForbidden(
                f"webhooks may not go to port {port}", hint=f"use one of {', '.join(map(str, self.ports))}"
            )
        if address := address_of(target.raw_host or ""):
            self.require(address)
        return target

    def require(self, *addresses: Address) -> None:
        """All the addresses of a host must be permitted: nobody knows which of them a client takes.

        Raises:
            TargetForbidden: one of them is not. Which one is not told: that would answer questions about our network.
        """
        if not all(self.permits(address) for address in addresses):
            raise TargetForbidden(
                "the host leads to an address that webhooks may not call (private, loopback, link-local, reserved, …)",
                hint="use a host with public addresses only; for development, private ones are allowed by"
                " PENSTOCK_WEBHOOK_ALLOW_PRIVATE=true",
            )


def read_ports(text: str) -> PortRange:
    """The ports that `443` or `1024-65535` means.

    Raises:
        ValueError: it means none.
    """
    found = _PORTS.fullmatch(text)
    ports = PortRange(int(found[1]), int(found[2] or found[1])) if found else PortRange(0, 0)
    if not 1 <= ports.first <= ports.last <= MAX_PORT:
        raise ValueError(
            f"{text!r} is no port and no range of ports; write 443, or 1024-65535, separated by commas"
        )
    return ports


def read_network(text: str) -> Network:
    """The network that `10.1.0.0/16`, `fd00::/8` or a single address means.

    Raises:
        ValueError: it means none, or has bits set beyond its length.
    """
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no network: {error}; write 10.1.0.0/16, fd00::/8 or a single address"
        ) from error
