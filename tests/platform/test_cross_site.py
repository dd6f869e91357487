"""Which requests a browser may sign by itself: Go's `http.CrossOriginProtection`, row by row."""

import pytest

from shared.contracts.problems import Forbidden
from shared.platform.auth import refuse_cross_site

HOST = {"Host": "penstock.example"}
OWN, OTHER = {"Origin": "https://penstock.example"}, {"Origin": "https://evil.example"}


def site(value):
    return {"Sec-Fetch-Site": value}


@pytest.mark.parametrize(
    ("headers", "let_through"),
    [
        (HOST | site("same-origin"), True),
        (HOST | site("none"), True),
        (HOST | site("same-site"), False),
        (HOST | site("cross-site"), False),
        (HOST | site("what comes one day"), False),
        # What the browser says of the site counts more than the origin.
        (HOST | site("same-origin") | OTHER, True),
        (HOST | site("cross-site") | OWN, False),
        # A browser of before 2023, or plain HTTP: the origin is there.
        (HOST | OWN, True),
        (HOST | {"Origin": "http://penstock.example"}, True),
        (HOST | OTHER, False),
        (HOST | {"Origin": "https://penstock.example:8443"}, False),
        (HOST | {"Origin": "https://penstock.example.evil.example"}, False),
        (HOST | {"Origin": "https://evil.example#penstock.example"}, False),
        (HOST | {"Origin": "https://user@penstock.example"}, False),
        (HOST | {"Origin": "null"}, False),
        ({"Host": ""} | {"Origin": "null"}, False),
        (HOST | {"Origin": "https://[penstock.example"}, False),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, True),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8001"}, False),
        ({"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}, True),
        (OWN, False),
        # No browser.
        (HOST, True),
        (HOST | site("") | {"Origin": ""}, True),
    ],
)
def test_what_changes_something_must_be_asked_for_by_ones_own_page(headers, let_through):
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "anything"):
        if let_through:
            refuse_cross_site(method, headers)
        else:
            with pytest.raises(Forbidden) as caught:
                refuse_cross_site(method, headers)
            assert caught.value.code == "cross_site_request"


def test_what_only_reads_may_be_asked_for_by_any():
    for method in ("GET", "HEAD", "OPTIONS"):
        refuse_cross_site(method, HOST | site("cross-site") | OTHER)
