"""The headers that an endpoint's owner adds: which there may be, how they are merged and shown."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.endpoints.headers import MASK, looks_secret, merged, shown
from shared.contracts.problems import Unprocessable

TOKENS = st.text("!#$%&'*+-.^_`|~" + string.ascii_letters + string.digits, min_size=1, max_size=12)
NAMES = TOKENS.map(lambda token: f"X{token}")  # none of ours begins like this
VALUES = st.text([chr(code) for code in range(0x20, 0x7F)], max_size=20).map(str.strip)


def distinct(names: list[str]) -> bool:
    return len({name.lower() for name in names}) == len(names)


def headers(values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, values, max_size=8).filter(lambda found: distinct(list(found)))


def refused(present: dict[str, str], changes: dict[str, str | None]) -> str:
    with pytest.raises(Unprocessable) as problem:
        merged(present, changes)
    assert problem.value.code == "webhook_header_invalid"
    return f"{problem.value.detail} {problem.value.hint}"


def folded(found: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in found.items()}


@given(headers(VALUES), headers(st.none() | VALUES))
def test_a_merge_patch_changes_what_it_names_and_nothing_else(present, changes):
    changed = {name: MASK + "." if value == MASK else value for name, value in changes.items()}
    expected = folded(present) | folded(changed)
    assert folded(merged(present, changed)) == {name: v for name, v in expected.items() if v is not None}


@given(headers(VALUES))
def test_what_is_shown_may_be_sent_back_and_changes_nothing(present):
    assert merged(present, shown(present)) == present


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "X-API-Key",
        "apikey",
        "X-Auth",
        "X-Token-2",
        "Client-Secret",
        "PASSWORD",
        "X-Hub-Signature",
    ],
)
def test_what_looks_like_a_secret_is_masked_and_keeps_its_value_when_the_mask_comes_back(name):
    present = {name: "open sesame", "X-Team": "mill"}
    assert shown(present) == {name: MASK, "X-Team": "mill"}
    assert merged(present, {name.swapcase(): MASK}) == {name.swapcase(): "open sesame", "X-Team": "mill"}
    assert "send the value itself" in refused({}, {name: MASK})


@pytest.mark.parametrize("name", ["X-Team", "X-Author", "X-Environment", "Accept", "X-Bypass-Cache"])
def test_what_does_not_is_shown(name):
    assert not looks_secret(name)
    assert merged({}, {name: MASK}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Content-Type", "content-length", "Content-Encoding", "Content-MD5", "User-Agent"),
        *("Accept-Encoding", "webhook-id", "Webhook-Signature", "webhook-anything", "Transfer-Encoding"),
        *("Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect", "Proxy-Authorization"),
        *("Proxy-Connection", "HTTP2-Settings"),
    ],
)
def test_what_is_ours_or_of_the_connection_is_refused(name):
    assert f"{name} is" in refused({}, {name: "1"})


@pytest.mark.parametrize("name", ["", " ", "X Team", "X-Team:", "X-Tëam", "X\r\nY", "X\0", "(x)", "a" * 257])
def test_a_name_is_a_token(name):
    assert "is no header name" in refused({}, {name: "1"})


@pytest.mark.parametrize(
    "value", ["%s\r\nX-Y: 1", "%s\n", "\0%s", "\x7f%s", " %s", "%s ", "\t%s", "%sü", "%s\u2028b", "👋%s"]
)
def test_a_value_is_visible_ascii_and_is_not_repeated(value):
    told = refused({}, {"X-Team": value % "sesame"})
    assert "the value of X-Team" in told
    assert "sesame" not in told


def test_a_name_comes_once_whatever_its_case():
    assert "more than once" in refused({}, {"X-Team": "a", "x-team": "b"})
    assert merged({"X-Team": "a"}, {"x-team": "b"}) == {"x-team": "b"}
    assert merged({"X-Team": "a"}, {"x-team": None, "X-Gone": None}) == {}


def test_there_are_twenty_at_most_and_8_kib_in_all():
    twenty = {f"X-{number}": "" for number in range(20)}
    assert "21 headers" in refused(twenty, {"X-20": ""})
    assert len(merged(twenty, {"X-20": "", "X-0": None})) == 20
    full = {"X": "a" * (8 * 1024 - 1)}
    assert merged({}, full) == full
    assert "8193 bytes" in refused(full, {"X": "a" * 8 * 1024})
