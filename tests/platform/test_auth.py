"""Who is let in: tokens that are right, and every way in which one can be wrong."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.problems import Unauthenticated
from shared.contracts.scopes import SCOPES
from shared.platform.auth import (
    ApiKeyVerifier,
    Authenticator,
    JwtVerifier,
    Principal,
    SessionVerifier,
    create_jwt,
    parse_scopes,
)
from tests.platform import issuer as tokens

SECRET = "a-secret-of-at-least-thirty-two-bytes"
AUDIENCE = "penstock"


def authenticator(**rules):
    return Authenticator(
        JwtVerifier(audience=AUDIENCE, secret=SECRET, **rules),
        ApiKeyVerifier.__new__(ApiKeyVerifier),
        SessionVerifier.__new__(SessionVerifier),
    )


def claims(**changes):
    return tokens.claims(**{"iss": None} | changes)


def signed(secret=SECRET, algorithm="HS256", **changes):
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def unsigned(header):
    payload = claims(exp=int(datetime.now(UTC).timestamp()) + 86_400)
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, payload)
    )
    return ".".join([*parts, ""])


async def refused(token, **rules):
    with pytest.raises(Unauthenticated) as caught:
        await authenticator(**rules).identify(token)
    problem = caught.value
    assert token not in f"{problem.detail} {problem.hint}" or not token
    assert "penstock token create" in problem.hint
    return problem.code


async def test_a_token_of_ours_names_its_tenant_and_scopes():
    token = create_jwt(
        SECRET,
        tenant="acme",
        scopes=["imports:write", "records:read"],
        audience=AUDIENCE,
        lifetime=timedelta(minutes=1),
    )
    caller = await authenticator().identify(token)
    assert caller.subject.startswith("token:")
    assert (caller.tenant, caller.scopes) == ("acme", {"imports:write", "records:read"})


async def test_two_tokens_have_different_names():
    tokens = [
        create_jwt(SECRET, tenant="a", scopes=[], audience=AUDIENCE, lifetime=timedelta(1)) for _ in range(2)
    ]
    assert len({(await authenticator().identify(token)).subject for token in tokens}) == 2


@pytest.mark.parametrize(
    "token",
    [
        unsigned({"alg": "none", "typ": "JWT"}),
        unsigned({"alg": "None", "typ": "JWT"}),
        unsigned({"alg": "HS256", "typ": "JWT"}),
        unsigned({"typ": "JWT"}),
        jwt.encode(claims(), None, algorithm="none"),
        signed(SECRET * 2, "HS512"),
        signed(SECRET * 2, "HS384"),
        signed("another-secret-of-at-least-32-bytes!"),
        signed(aud="others"),
        signed(aud=None),
        signed(aud=[]),
        signed(exp=None),
        signed(sub=None),
        signed(tenant=None),
        signed(tenant=""),
        signed(tenant=7),
        signed(tenant=["acme"]),
        signed(scope=7),
        signed(iss="penstock", tenant="acme\0"),
        signed(nbf=datetime.now(UTC) + timedelta(hours=12)),
        "",
        ".",
        "..",
        "a.b.c",
        "\u00e9" * 10,
    ],
    ids=lambda token: "",
)
async def test_a_token_that_is_wrong_is_refused(token):
    assert await refused(token) == "token_invalid"


async def test_a_token_that_has_expired_is_refused_by_that_name():
    assert await refused(signed(exp=datetime.now(UTC) - timedelta(minutes=1))) == "token_expired"


async def test_clocks_may_differ_a_little():
    caller = await authenticator().identify(signed(exp=datetime.now(UTC) - timedelta(seconds=10)))
    assert caller.tenant == "acme"


RIGHT = signed()


@given(st.integers(0, len(RIGHT) - 1), st.sampled_from("ABCXYZabcxyz019-_."))
async def test_one_other_character_is_refused_or_the_same_token(place, letter):
    """The last character of base64 has bits that mean nothing."""
    tampered = RIGHT[:place] + letter + RIGHT[place + 1 :]
    try:
        caller = await authenticator().identify(tampered)
    except Unauthenticated:
        return
    assert place == len(RIGHT) - 1 or tampered == RIGHT
    assert caller.tenant == "acme"


async def test_a_token_without_scopes_may_do_nothing():
    caller = await authenticator().identify(signed(scope=None))
    assert [scope for scope in SCOPES if caller.may(scope)] == []


def test_admin_may_do_everything_and_others_what_they_are_given():
    assert all(Principal("me", "acme", frozenset({"admin"})).may(scope) for scope in SCOPES)
    reader = Principal("me", "acme", frozenset({"imports:read"}))
    assert [scope for scope in sorted(SCOPES) if reader.may(scope)] == ["imports:read"]


def test_scopes_are_known_ones():
    assert parse_scopes(["admin", "imports:read", "admin"]) == {"admin", "imports:read"}
    with pytest.raises(ValueError, match=r"unknown scope imports:eat; there are: admin, imports:read"):
        parse_scopes(["imports:eat", "admin"])


@pytest.mark.parametrize("tenant", ["", "x" * 201, "a\0b", "a\nb", "\x1b[2J", "\ud800"])
def test_what_cannot_name_a_tenant_gets_no_token(tenant):
    with pytest.raises(ValueError, match="1 to 200 printable characters"):
        create_jwt(SECRET, tenant=tenant, scopes=[], audience=AUDIENCE, lifetime=timedelta(1))


async def test_unless_an_issuer_is_set_a_token_of_any_or_none_is_taken():
    for issuer in (None, "penstock", "https://issuer.example"):
        assert (await authenticator().identify(signed(iss=issuer))).tenant == "acme"


async def test_where_an_issuer_is_set_its_tokens_and_ours_are_taken_and_no_others():
    rules = {"issuer": "https://issuer.example"}
    for issuer in ("penstock", "https://issuer.example"):
        assert (await authenticator(**rules).identify(signed(iss=issuer))).tenant == "acme"
    for issuer in (None, "", "https://evil.example", "Penstock"):
        assert await refused(signed(iss=issuer), **rules) == "token_invalid"


async def test_our_tokens_name_their_tenant_by_our_claim_and_others_by_theirs():
    rules = {"tenant_claim": "org.id"}
    assert (await authenticator(**rules).identify(signed(iss="penstock"))).tenant == "acme"
    theirs = signed(iss="other", org={"id": "mill"})
    assert (await authenticator(**rules).identify(theirs)).tenant == "mill"
    assert await refused(signed(iss="penstock", tenant=None, org={"id": "mill"}), **rules) == "token_invalid"


async def test_a_long_token_is_refused_before_anything_is_done_with_it():
    class Untouched:
        def __getattr__(self, name):
            raise AssertionError(name)

    for token in ("psk_" + "x" * 8189, "x" * 8193):
        with pytest.raises(Unauthenticated, match="8192 characters"):
            await Authenticator(Untouched(), Untouched(), Untouched()).identify(token)
    longest = signed(padding="x" * 5800)
    assert 7_900 < len(longest) <= 8192
    assert (await authenticator().identify(longest)).tenant == "acme"


async def test_a_token_that_was_right_before_expires_all_the_same():
    nearly_over = signed(exp=int(datetime.now(UTC).timestamp()) - 28)  # of the 30 s that clocks may differ
    let_in = authenticator()
    caller = await let_in.identify(nearly_over)
    assert await let_in.identify(nearly_over) is caller  # not checked again
    while datetime.now(UTC) < caller.expires_at:
        await asyncio.sleep(0.1)
    with pytest.raises(Unauthenticated) as caught:
        await let_in.identify(nearly_over)
    assert caught.value.code == "token_expired"


async def test_so_many_tokens_are_remembered_and_no_more(monkeypatch):
    monkeypatch.setattr("shared.platform.auth.jwt.REMEMBERED", 2)
    let_in = authenticator()
    tokens_of_three = [signed(sub=f"caller-{number}") for number in range(3)]
    callers = [await let_in.identify(token) for token in tokens_of_three]
    assert await let_in.identify(tokens_of_three[2]) is callers[2]
    assert await let_in.identify(tokens_of_three[0]) is not callers[0]
