"""Tokens of an issuer: its keys, how they are got, kept and rotated, and every way to pass one thing for another."""

import asyncio
import gzip
import json
import socket
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.problems import Unauthenticated, Unavailable
from shared.platform.auth import (
    ApiKeyVerifier,
    Authenticator,
    Jwks,
    JwtVerifier,
    SessionVerifier,
    create_jwt,
    jwks,
)
from tests.platform.issuer import (
    AUDIENCE,
    EC,
    ISSUER,
    OTHER_EC,
    OTHER_RSA,
    P384,
    RSA,
    SECRET,
    SHORT_RSA,
    claims,
    jwk,
    public_pem,
    published,
    put_together,
    signed,
    signed_by_hand,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time that keys are kept by."""
    clock = Clock()
    monkeypatch.setattr(jwks, "monotonic", clock)
    return clock


@pytest.fixture
def issuer():
    with published() as issuer:
        yield issuer


@pytest.fixture
def authenticator(issuer, clock):
    return authenticator_at(issuer.url)


@pytest.fixture
def logged(configure, capsys):
    """Begins to log at a level; gives what reads the lines."""

    def begin(level):
        configure(level=level, style="json")
        return lambda: capsys.readouterr().err

    return begin


def authenticator_at(url, *, secret=SECRET, **options):
    jwts = JwtVerifier(
        audience=AUDIENCE, secret=secret, jwks=Jwks(url, seconds=300), issuer=ISSUER, **options
    )
    return Authenticator(
        jwts, ApiKeyVerifier.__new__(ApiKeyVerifier), SessionVerifier.__new__(SessionVerifier)
    )


async def code_of(authenticator, token):
    with pytest.raises(Unauthenticated) as caught:
        await authenticator.identify(token)
    return caught.value.code


async def unavailable(authenticator, token):
    with pytest.raises(Unavailable) as caught:
        await authenticator.identify(token)
    assert (caught.value.code, caught.value.headers()) == ("keys_unavailable", {"Retry-After": "5"})


RIGHT = {
    "RS256": signed(),
    "ES256": signed(EC, "ec", "ES256"),
    "secret": create_jwt(
        SECRET, tenant="acme", scopes=["imports:read"], audience=AUDIENCE, lifetime=timedelta(days=1)
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
async def test_tokens_of_the_issuer_and_our_own_are_taken_side_by_side(authenticator, kind):
    caller = await authenticator.identify(RIGHT[kind])
    assert caller.tenant == "acme"
    assert "imports:read" in caller.scopes


def hmac_signed(secret, *, kid="rsa", **changes):
    """HS256 with any bytes: PyJWT itself refuses to sign with a public key."""
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    payload = claims(exp=int(datetime.now(UTC).timestamp()) + 86_400, **changes)
    unsigned = put_together({"alg": "HS256", "typ": "JWT", "kid": kid}, payload).rpartition(".")[0]
    signature = algorithm.sign(unsigned.encode(), secret)
    return f"{unsigned}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def relabelled(token, **header):
    """`token` with another header, its signature as it was."""
    _, payload, signature = token.split(".")
    return f"{put_together(header, 0).partition('.')[0]}.{payload}.{signature}"


PAYLOAD = claims(exp=int(datetime.now(UTC).timestamp()) + 86_400)
NOW = datetime.now(UTC)
ATTACKS = {
    "no algorithm": put_together({"alg": "none", "kid": "rsa"}, PAYLOAD),
    "no algorithm, odd case": put_together({"alg": "nOnE", "kid": "rsa"}, PAYLOAD),
    "no algorithm named": put_together({"kid": "rsa"}, PAYLOAD),
    "no signature": put_together({"alg": "RS256", "kid": "rsa"}, PAYLOAD),
    "no signature of ours": put_together({"alg": "HS256"}, PAYLOAD | {"iss": "penstock"}),
    "algorithm is a list": put_together({"alg": ["RS256"], "kid": "rsa"}, PAYLOAD, b"x"),
    "HS256 by the public RSA key": hmac_signed(public_pem(RSA)),
    "HS256 by the public RSA key, as ours": hmac_signed(public_pem(RSA), iss="penstock"),
    "HS256 by the public EC key": hmac_signed(public_pem(EC), kid="ec"),
    "HS256 by the JWK": hmac_signed(json.dumps(jwk(RSA, "rsa")).encode()),
    "HS256 by our secret, as the issuer's": signed(SECRET, "rsa", "HS256"),
    "HS256 by our secret, as the issuer's, without a kid": signed(SECRET, None, "HS256"),
    "HS256 by an empty secret": hmac_signed(b"", iss="penstock"),
    "RS256 as ours": signed(iss="penstock"),
    "another RSA key": signed(OTHER_RSA),
    "another EC key": signed(OTHER_EC, "ec", "ES256"),
    "RSA signature by the EC key's name": signed(RSA, "ec"),
    "EC signature by the RSA key's name": signed(EC, "rsa", "ES256"),
    "EC signature called RS256": relabelled(signed(EC, "ec", "ES256"), alg="RS256", kid="ec"),
    "RSA signature called ES256": relabelled(signed(), alg="ES256", kid="ec"),
    "RS512 by the right key": signed(algorithm="RS512"),
    "PS256 by the right key": signed(algorithm="PS256"),
    "a P-384 key": signed(P384, "ec", "ES384"),
    "a kid that is not there": signed(kid="elsewhere"),
    "a kid that is a path": signed(kid="../../../dev/null"),
    "a kid that is SQL": signed(kid="x' UNION SELECT 'secret"),
    "a kid that is no string": put_together({"alg": "RS256", "kid": 7}, PAYLOAD, b"x"),
    "a critical extension": signed(header={"crit": ["exp"], "exp": 1}),
    "an extension that PyJWT knows": signed_by_hand({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": True}, PAYLOAD),
    "a payload that is not encoded": signed_by_hand({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": False}, PAYLOAD),
    "no critical extension": signed(header={"crit": []}),
    "expired": signed(exp=NOW - timedelta(days=1)),
    "no expiry": signed(exp=None),
    "an expiry that is no number": signed(exp="never"),
    "an expiry without end": put_together({"alg": "RS256", "kid": "rsa"}, PAYLOAD | {"exp": float("inf")}),
    "not yet valid": signed(nbf=NOW + timedelta(days=1)),
    "made in the future": signed(iat=NOW + timedelta(days=1)),
    "no audience": signed(aud=None),
    "another audience": signed(aud="others"),
    "other audiences": signed(aud=["others", "penstock "]),
    "an empty list of audiences": signed(aud=[]),
    "audiences that are no strings": put_together({"alg": "RS256", "kid": "rsa"}, PAYLOAD | {"aud": [["penstock"]]}),
    "no issuer": signed(iss=None),
    "no issuer, by our secret": signed(SECRET, None, "HS256", iss=None),
    "another issuer": signed(iss="https://evil.example"),
    "another issuer, by our secret": signed(SECRET, None, "HS256", iss="https://evil.example"),
    "issuers": put_together({"alg": "RS256", "kid": "rsa"}, PAYLOAD | {"iss": [ISSUER]}, b"x"),
    "no subject": signed(sub=None),
    "an empty subject": signed(sub=""),
    "a subject that cannot be stored": signed(sub="a\0b"),
    "a long subject": signed(sub="x" * 256),
    "no tenant": signed(tenant=None),
    "an empty tenant": signed(tenant=""),
    "a tenant that is no string": signed(tenant=["acme"]),
    "a long tenant": signed(tenant="x" * 201),
    "a tenant that cannot be stored": signed(tenant="acme\0"),
    "a tenant of half a character": signed(tenant="\ud800"),
    "a tenant that moves the cursor": signed(tenant="\x1b[2J"),
    "scopes that are no words": signed(scope=7),
    "scopes that are lists": signed(scope=[["admin"]]),
    "deep JSON": urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.e30",
    "a large number": urlsafe_b64encode(b'{"alg":' + b"9" * 5000 + b"}").decode().rstrip("=") + ".e30.e30",
    "8 KiB and a character": "a" * 8193,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_is_passed_for_a_right_token_is_refused(authenticator, attack):
    token = ATTACKS[attack]
    expected = "token_expired" if attack == "expired" else "token_invalid"
    assert await code_of(authenticator, token) == expected


async def test_what_is_no_token_of_the_issuer_is_not_asked_of_it(authenticator, issuer):
    for token in (signed(iss="https://evil.example"), signed(iss=None), "a" * 8193, "a.b.c", ""):
        assert await code_of(authenticator, token) == "token_invalid"
    await authenticator.identify(RIGHT["secret"])
    assert issuer.asked == []


async def test_a_token_that_brings_its_own_key_is_refused_and_nothing_it_names_is_fetched(
    authenticator, issuer
):
    elsewhere = issuer.url.replace("/keys", "/evil")
    for header in (
        {"jwk": jwk(OTHER_RSA, "rsa")},
        {"jku": elsewhere},
        {"x5u": elsewhere},
        {"x5c": [urlsafe_b64encode(public_pem(OTHER_RSA)).decode()]},
    ):
        assert await code_of(authenticator, signed(OTHER_RSA, header=header)) == "token_invalid"
        # Of no consequence for a token that is right otherwise: some issuers say where their keys are.
        assert (await authenticator.identify(signed(header=header))).tenant == "acme"
    assert issuer.asked == ["/keys"]


@pytest.mark.parametrize(
    ("claim", "value", "code"),
    [
        ("exp", -29, None),
        ("exp", -31, "token_expired"),
        ("nbf", 29, None),
        ("nbf", 32, "token_invalid"),
        ("iat", 29, None),
        ("iat", 32, "token_invalid"),
    ],
)
async def test_clocks_may_differ_by_half_a_minute(authenticator, claim, value, code):
    token = signed(**{claim: datetime.now(UTC) + timedelta(seconds=value)})
    if code is None:
        assert (await authenticator.identify(token)).tenant == "acme"
    else:
        assert await code_of(authenticator, token) == code


async def test_one_of_several_audiences_will_do(authenticator):
    assert (await authenticator.identify(signed(aud=["others", AUDIENCE]))).tenant == "acme"


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"scope": "imports:read openid  admin"}, {"imports:read", "admin"}),
        ({"scope": ["imports:read", "email"]}, {"imports:read"}),
        ({"scope": None, "scp": "records:read profile"}, {"records:read"}),
        ({"scope": None, "scp": ["records:read", "imports:eat"]}, {"records:read"}),
        ({"scope": "imports:read", "scp": ["admin"]}, {"imports:read"}),
        ({"scope": None}, set()),
        ({"scope": "ADMIN Admin admin,"}, set()),
    ],
)
async def test_scopes_are_those_that_are_ours(authenticator, said, scopes):
    assert (await authenticator.identify(signed(**said))).scopes == scopes


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("tid", {"tid": "mill"}),
        ("org.id", {"org": {"id": "mill"}}),
        ("a.b.c", {"a": {"b": {"c": "mill"}}}),
        ("https://mill.example/tenant", {"https://mill.example/tenant": "mill"}),
    ],
)
async def test_the_tenant_s_claim_has_the_name_that_the_settings_say(issuer, claim, said):
    authenticator = authenticator_at(issuer.url, tenant_claim=claim)
    assert (await authenticator.identify(signed(tenant=None, **said))).tenant == "mill"
    assert await code_of(authenticator, signed(tenant="acme")) == "token_invalid"
    assert (await authenticator.identify(RIGHT["secret"])).tenant == "acme"


@pytest.mark.parametrize("org", ["acme", ["acme"], None, {"id": {"id": "acme"}}, {"name": "acme"}])
async def test_a_nested_claim_that_is_not_there_names_no_tenant(issuer, org):
    assert (
        await code_of(authenticator_at(issuer.url, tenant_claim="org.id"), signed(org=org)) == "token_invalid"
    )


async def test_without_a_secret_only_the_issuer_s_tokens_are_taken(issuer):
    authenticator = authenticator_at(issuer.url, secret=None)
    assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
    assert await code_of(authenticator, RIGHT["secret"]) == "token_invalid"


# What a key of a set says of itself, and whether it checks RS256 then.
KEYS = {
    "for signatures": ({"use": "sig"}, True),
    "for encryption": ({"use": "enc"}, False),
    "to verify": ({"key_ops": ["verify"]}, True),
    "to verify and more": ({"key_ops": ["sign", "verify"]}, True),
    "to encrypt": ({"key_ops": ["encrypt", "wrapKey"]}, False),
    "to do nothing": ({"key_ops": []}, False),
    "by its algorithm": ({"alg": "RS256"}, True),
    "by another algorithm": ({"alg": "PS256"}, False),
    "by RSA encryption": ({"alg": "RSA-OAEP"}, False),
    "by no algorithm": ({"alg": "none"}, False),
    "by our algorithm": ({"alg": "HS256"}, False),
    "whose private part is published": ({"d": "AQAB"}, False),
    "of another type": ({"kty": "EC"}, False),
    "of no type": ({"kty": None}, False),
    "without a modulus": ({"n": None}, False),
    "whose modulus is no base64": ({"n": "ä"}, False),
    "whose modulus is a number": ({"n": 5}, False),
    "whose modulus is nothing": ({"n": ""}, False),
    "whose exponent is even": ({"e": "AgAA"}, False),
    "whose name is a number": ({"kid": 7}, False),
    "with members of its own": ({"x5t": "abc", "x5c": ["abc"], "exp": 5}, True),
}


@pytest.mark.parametrize("kind", KEYS)
async def test_a_key_is_used_for_what_it_is(authenticator, issuer, kind):
    members, usable = KEYS[kind]
    issuer.keys = [jwk(RSA, "rsa") | members, jwk(EC, "ec")]
    if usable:
        assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
    else:
        assert await code_of(authenticator, RIGHT["RS256"]) == "token_invalid"
    assert (await authenticator.identify(RIGHT["ES256"])).tenant == "acme"


async def test_keys_that_are_too_weak_or_no_public_keys_are_not_used(authenticator, issuer):
    short, off_curve = jwk(SHORT_RSA, "short"), jwk(EC, "off", y=jwk(EC)["x"])
    secret = {"kty": "oct", "kid": "oct", "k": urlsafe_b64encode(SECRET.encode()).decode()}
    issuer.keys = [short, off_curve, secret, jwk(P384, "p384"), {"kty": "OKP", "kid": "x", "crv": "Ed25519", "x": "AA"}, 7, None, jwk(EC, "ec")]  # fmt: skip
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = signed(SHORT_RSA, "short")
    assert await code_of(authenticator, weak) == "token_invalid"
    assert await code_of(authenticator, signed(SECRET, "oct", "HS256")) == "token_invalid"
    assert await code_of(authenticator, signed(P384, "p384", "ES384")) == "token_invalid"
    assert await code_of(authenticator, signed(EC, "off", "ES256")) == "token_invalid"
    assert (await authenticator.identify(RIGHT["ES256"])).tenant == "acme"


async def test_a_token_that_names_no_key_is_checked_by_the_only_one_of_its_algorithm(
    authenticator, issuer, clock
):
    assert (await authenticator.identify(signed(kid=None))).tenant == "acme"
    assert (await authenticator.identify(signed(EC, None, "ES256"))).tenant == "acme"
    issuer.keys.append(jwk(OTHER_RSA, "other"))
    clock.now += 301
    assert await code_of(authenticator, signed(kid=None)) == "token_invalid"
    assert (await authenticator.identify(signed(EC, None, "ES256"))).tenant == "acme"


async def test_one_name_may_stand_for_keys_of_two_algorithms(authenticator, issuer):
    issuer.keys = [jwk(RSA, "same"), jwk(EC, "same")]
    assert (await authenticator.identify(signed(kid="same"))).tenant == "acme"
    assert (await authenticator.identify(signed(EC, "same", "ES256"))).tenant == "acme"
    assert await code_of(authenticator, signed(OTHER_RSA, "same")) == "token_invalid"


async def test_keys_are_fetched_once_and_again_when_they_are_old(authenticator, issuer, clock):
    for after, fetches in ((0, 1), (299, 1), (2, 2), (1, 2), (300, 3)):
        clock.now += after
        assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
        assert len(issuer.asked) == fetches


async def test_a_key_that_is_withdrawn_opens_nothing_once_the_keys_are_old(authenticator, issuer, clock):
    await authenticator.identify(RIGHT["RS256"])
    issuer.keys = [jwk(EC, "ec")]
    clock.now += 300
    assert await code_of(authenticator, RIGHT["RS256"]) == "token_invalid"


async def test_a_new_key_is_found_without_a_restart(authenticator, issuer, clock):
    await authenticator.identify(RIGHT["RS256"])
    new = signed(OTHER_RSA, "new")
    assert await code_of(authenticator, new) == "token_invalid"
    issuer.keys.append(jwk(OTHER_RSA, "new"))
    clock.now += 29
    assert await code_of(authenticator, new) == "token_invalid"
    clock.now += 1
    assert (await authenticator.identify(new)).tenant == "acme"
    assert len(issuer.asked) == 2


async def test_all_who_wait_for_a_new_key_get_it_by_one_fetch(authenticator, issuer, clock):
    await authenticator.identify(RIGHT["RS256"])
    clock.now += 60
    issuer.keys.append(jwk(OTHER_RSA, "new"))
    new = signed(OTHER_RSA, "new")
    callers = await asyncio.gather(*(authenticator.identify(new) for _ in range(50)))
    assert {caller.tenant for caller in callers} == {"acme"}
    assert len(issuer.asked) == 2


async def test_a_flood_of_unknown_keys_is_one_fetch_in_half_a_minute(authenticator, issuer, clock):
    for round_ in range(3):
        flood = (code_of(authenticator, signed(kid=f"k{round_}-{number}")) for number in range(100))
        assert set(await asyncio.gather(*flood)) == {"token_invalid"}
        assert await code_of(authenticator, signed(kid="one more")) == "token_invalid"
        assert len(issuer.asked) == round_ + 1
        clock.now += 30


async def test_many_who_wait_cause_one_fetch_and_one_who_leaves_takes_none_with_him(authenticator, issuer):
    issuer.gate.clear()
    waiting = [asyncio.create_task(authenticator.identify(RIGHT["RS256"])) for _ in range(50)]
    await _until(lambda: issuer.asked)
    waiting.pop(0).cancel()
    issuer.gate.set()
    assert {caller.tenant for caller in await asyncio.gather(*waiting)} == {"acme"}
    assert len(issuer.asked) == 1


async def _until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


JSON = {"Content-Type": "application/json"}
BROKEN = {
    "an error": (500, JSON, b"{}"),
    "nothing": (204, {}, b""),
    "not there": (404, JSON, b'{"keys": []}'),
    "no JSON": (200, JSON, b"<html>"),
    "no set": (200, JSON, b"[]"),
    "a set of nothing": (200, JSON, b'{"keys": {}}'),
    "deep": (200, JSON, b'{"keys":' + b"[" * 100_000),
    "too large": (200, JSON, b'{"keys": []}' + b" " * 1024 * 1024),
    "packed": (200, JSON | {"Content-Encoding": "gzip"}, gzip.compress(b'{"keys": []}')),
    "elsewhere": (302, {"Location": "/keys?again"}, b""),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_while_the_issuer_fails_known_keys_are_used_and_it_is_asked_now_and_then(
    authenticator, issuer, clock, logged, how
):
    written = logged("warning")
    await authenticator.identify(RIGHT["RS256"])
    issuer.answer = BROKEN[how]
    clock.now += 300
    for _ in range(20):
        assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
    assert len(issuer.asked) == 2
    events = [json.loads(line)["event"] for line in written().splitlines()]
    assert events.count("jwks.fetch_failed") == 1, events
    clock.now += 5
    assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
    await _until(lambda: len(issuer.asked) == 3)
    # Whether this key is there nobody can say now.
    await unavailable(authenticator, signed(kid="new"))
    issuer.answer = None
    clock.now += 5
    await authenticator.identify(RIGHT["RS256"])
    await _until(lambda: len(issuer.asked) == 4)
    assert await code_of(authenticator, signed(kid="new")) == "token_invalid"
    assert all(path == "/keys" for path in issuer.asked)


async def test_while_the_issuer_hangs_nobody_who_has_a_known_key_waits_twice(authenticator, issuer, clock):
    await authenticator.identify(RIGHT["RS256"])
    issuer.answer = BROKEN["an error"]
    clock.now += 300
    await authenticator.identify(RIGHT["RS256"])
    issuer.gate.clear()
    clock.now += 5
    async with asyncio.timeout(2):  # less than a fetch may take
        assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"
    await _until(lambda: len(issuer.asked) == 3)


async def test_an_issuer_that_was_never_reached_is_our_problem_not_the_caller_s(issuer, clock):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        authenticator = authenticator_at(f"http://127.0.0.1:{taken.getsockname()[1]}/keys")
        for token in (RIGHT["RS256"], RIGHT["ES256"], signed(kid=None), signed(kid="other")):
            await unavailable(authenticator, token)
        assert (await authenticator.identify(RIGHT["secret"])).tenant == "acme"
        assert await code_of(authenticator, signed(iss="https://evil.example")) == "token_invalid"


async def test_an_issuer_that_begins_late_is_asked_again_after_five_seconds(authenticator, issuer, clock):
    issuer.answer = BROKEN["an error"]
    for _ in range(10):
        await unavailable(authenticator, RIGHT["RS256"])
    assert len(issuer.asked) == 1
    issuer.answer = None
    clock.now += 5
    assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"


async def test_an_issuer_that_withdraws_every_key_is_believed(authenticator, issuer, clock):
    await authenticator.identify(RIGHT["RS256"])
    issuer.keys = []
    clock.now += 300
    await unavailable(authenticator, RIGHT["RS256"])
    issuer.keys = [jwk(RSA, "rsa")]
    clock.now += 5
    assert (await authenticator.identify(RIGHT["RS256"])).tenant == "acme"


async def test_an_issuer_that_sends_bit_by_bit_is_given_up(monkeypatch, clock):
    """Each piece comes in time; the whole does not."""
    gone = asyncio.Event()
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.5)

    async def trickle(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with suppress(OSError):
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        gone.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        await unavailable(authenticator_at(f"http://127.0.0.1:{port}/keys"), RIGHT["RS256"])
        await gone.wait()
    server.close()


async def test_no_proxy_of_the_environment_is_asked(issuer, monkeypatch, clock):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert (await authenticator_at(issuer.url).identify(RIGHT["RS256"])).tenant == "acme"


@pytest.mark.parametrize("kind", RIGHT)
@given(data=st.data())
async def test_a_token_that_was_changed_anywhere_is_refused(authenticator, kind, data):
    token = RIGHT[kind]
    place = data.draw(st.integers(0, len(token) - 1))
    length = data.draw(st.integers(0, 3))
    instead = data.draw(
        st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("AZaz09-_.="), max_size=4)
    )
    changed = token[:place] + instead + token[place + length :]
    if changed in {token, f"{token}=", f"{token}=="}:  # padding says nothing and changes nothing
        return
    assert await code_of(authenticator, changed) in {"token_invalid", "token_expired"}


@given(
    header=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "x"]), inner, max_size=4), max_leaves=8),
    payload=st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "tenant", "scope", "scp", "jti"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2) | st.sampled_from([ISSUER, AUDIENCE, "penstock"]),
    ),
)  # fmt: skip
async def test_whatever_is_put_together_without_a_key_is_refused(authenticator, header, payload):
    for signature in (b"", b"x" * 64, b"x" * 256):
        assert await code_of(authenticator, put_together(header, payload, signature)) == "token_invalid"


@given(
    changes=st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "tenant", "scope", "scp", "jti"]),
        st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2) | st.dictionaries(st.text(), st.text(), max_size=1),
        min_size=1,
    )
)  # fmt: skip
async def test_whatever_an_issuer_signs_is_taken_as_what_it_is_or_refused(authenticator, changes):
    payload = claims(exp=int(datetime.now(UTC).timestamp()) + 86_400) | changes
    token = jwt.api_jws.encode(json.dumps(payload).encode(), EC, "ES256", headers={"kid": "ec"})
    try:
        caller = await authenticator.identify(token)
    except Unauthenticated:
        return
    assert caller.tenant == payload["tenant"]
    assert caller.subject == payload["sub"]


@pytest.mark.parametrize("kind", RIGHT)
async def test_no_token_or_secret_is_in_a_log_or_an_error(authenticator, issuer, clock, logged, kind):
    written = logged("debug")
    token = RIGHT[kind]
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{'A' * 86}"
    for right in (token, RIGHT["RS256"]):
        await authenticator.identify(right)
    issuer.answer = (500, {}, SECRET.encode())
    clock.now += 300
    for sent in (forged, f"{token}x", f"{header}.{payload}", header):
        with pytest.raises(Unauthenticated) as caught:
            await authenticator.identify(sent)
        shown = f"{caught.value.document()} {caught.value!r} {caught.value.__cause__!r}"
        assert not [part for part in (*sent.split("."), SECRET) if part in shown]
    await authenticator.identify(RIGHT["RS256"])
    log = written()
    assert "jwks.fetch_failed" in log
    assert not [part for part in (header, payload, signature, SECRET) if part in log]
