"""Reading the URL of a webhook endpoint. Pure.

It is read by the parser of the client that calls it (yarl is aiohttp's), and what that gives is judged and called, so
that nothing can be read in two ways. Before it, whatever parsers are known to read differently is refused.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

MAX_URL_LENGTH = 2048
MAX_HOST_LENGTH = 253  # RFC 1035, section 3.1, less the root's label

# Browsers and some clients drop these, or take the last one for a slash.
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]+)")
_PORT = re.compile(r":[0-9]{1,5}\Z")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.(?!\Z)|\.?\Z))+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def parsed(url: str) -> URL:
    """`url`, taken apart; its `raw_host` is an address in its one plain spelling or an ASCII name in small letters.

    Raises:
        ValueError: not an absolute http or https URL, or one with a user name, a zone, an impossible port, or a host
            that some read as an address and others as a name. The message says what to write instead.
    """
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"longer than {MAX_URL_LENGTH} characters")
    if _AMBIGUOUS.search(url):
        raise ValueError(
            "there is a space, a control character or a backslash in it; write it as %20 or the like"
        )
    begin = _ABSOLUTE.match(url)
    if not begin:
        raise ValueError("it must begin with https:// or http:// and a host")
    _check_authority(begin[1])
    try:
        target = URL(url)
    except ValueError as error:
        raise ValueError("the host or the port is malformed") from error
    if not target.port:
        raise ValueError("the port must be between 1 and 65535")
    _check_host(target.raw_host or "")
    return target


def _check_authority(authority: str) -> None:
    if "@" in authority:
        raise ValueError(
            "a user name or password in a URL would be shown to all who list it; use a header of the endpoint"
        )
    if "%" in authority:
        raise ValueError("the host must be written without percent signs, and an IPv6 address without a zone")
    host = _PORT.sub("", authority)
    if ("[" in host or "]" in host or ":" in host) and not _BRACKETED.fullmatch(host):
        raise ValueError("the host or the port is malformed; an IPv6 address stands in brackets")


def _check_host(host: str) -> None:
    if ":" in host:
        _check_ipv6(host)
    elif _ends_in_a_number(host):
        _check_ipv4(host)
    elif len(host) > MAX_HOST_LENGTH or not _NAME.fullmatch(host):
        raise ValueError("the host is no name that can be looked up")


def _ends_in_a_number(host: str) -> bool:
    """Whether browsers and C libraries take `host` for an IPv4 address (WHATWG URL, "ends in a number checker")."""
    return _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


def _check_ipv6(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError as error:
        raise ValueError("the host is no IPv6 address") from error


def _check_ipv4(host: str) -> None:
    try:
        address = IPv4Address(host.removesuffix("."))
    except ValueError as error:
        raise ValueError(
            "the host ends in a number and is not an address of four decimal numbers, such as 198.51.100.7"
        ) from error
    if host.endswith("."):
        raise ValueError(f"the host is an address with a dot at its end; write {address}, without the dot")
