"""Requests that a page of another site makes a browser send, which adds its cookies to them (CSRF). Pure.

What is let through is what Go 1.25 lets through: `http.CrossOriginProtection`, https://pkg.go.dev/net/http and, with the
reasons, https://words.filippo.io/csrf. There are no tokens to hand out: browsers say by themselves where a request is from.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.contracts.problems import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN = frozenset({"same-origin", "none"})  # none: the user, by the address bar or a bookmark


def refuse_cross_site(method: str, headers: Mapping[str, str]) -> None:
    """Let nothing be changed that a page of ours, the user, or no browser at all did not ask for.

    Raises:
        Forbidden: `cross_site_request`.
    """
    if method not in SAFE_METHODS and not _is_own(headers):
        raise Forbidden(
            "cross_site_request",
            "a page of another origin asks for this with the session of a browser",
            hint="use the console's own pages; programs send `Authorization: Bearer <token>`",
        )


def _is_own(headers: Mapping[str, str]) -> bool:
    if site := headers.get("Sec-Fetch-Site"):
        return site in OWN
    # Browsers of before 2023, and addresses of plain HTTP, for which no browser says the site. Others send no Origin.
    origin = headers.get("Origin")
    return not origin or _host_of(origin) == headers.get("Host")


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None for `null`, and for what is none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
