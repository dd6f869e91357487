"""What an IP address is good for, by a table of our own. Pure.

`ipaddress.is_global` is not enough: it accepts IPv6 spellings of 127.0.0.1.
"""

from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(IntEnum):
    """Who can be reached at an address; of two, the higher one is the more dangerous."""

    PUBLIC = 0
    PRIVATE = 1  # this machine or a network of one's own
    SPECIAL = 2  # never a webhook receiver: link-local, multicast, reserved, documentation, …


_PRIVATE_V4 = tuple(
    IPv4Network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
    )
)
# IANA's special-purpose registry (RFC 6890 and its updates) without those above, plus multicast.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local, and with it every cloud's metadata service
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PRIVATE_V6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_GLOBAL_V6 = IPv6Network("2000::/3")  # the only block of global unicast addresses; all else is special
_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments, with Teredo, benchmarking and ORCHID
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214, section 6.1


def address_of(host: str) -> Address | None:
    """The address that `host` is, as a URL's parser gives it (IPv6 without brackets); None: it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def reach_of(address: Address) -> Reach:
    """Who can be reached at `address`. An IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, IPv4Address):
        return _reach_of_v4(address)
    if address in _MAPPED or address in _NAT64:
        return _reach_of_v4(_embedded(address, 0))
    if address in _6TO4:
        return _reach_of_v4(_embedded(address, 80))
    reach = _reach_of_v6(address)
    if (int(address) >> 32 & 0xFFFF_FFFF) in _ISATAP:
        return max(reach, _reach_of_v4(_embedded(address, 0)))
    return reach


def unmapped(address: Address) -> Address:
    """`address`, or the IPv4 address where it is one mapped to IPv6, as connections to it go there."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _reach_of_v4(address: IPv4Address) -> Reach:
    if any(address in network for network in _SPECIAL_V4):
        return Reach.SPECIAL
    return Reach.PRIVATE if any(address in network for network in _PRIVATE_V4) else Reach.PUBLIC


def _reach_of_v6(address: IPv6Address) -> Reach:
    if any(address in network for network in _PRIVATE_V6):
        return Reach.PRIVATE
    if address not in _GLOBAL_V6 or any(address in network for network in _SPECIAL_V6):
        return Reach.SPECIAL
    return Reach.PUBLIC


def _embedded(address: IPv6Address, shift: int) -> IPv4Address:
    return IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
