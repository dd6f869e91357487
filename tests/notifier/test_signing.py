"""Signatures agree with the specification's reference implementations."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from services.notifier.delivery.signing import (
    checked_secret,
    new_private_key,
    new_secret,
    public_key_of,
    signature_of,
    signed_headers,
)

VECTORS = Path(__file__).parents[3] / "shared" / "corpus" / "vectors" / "standard-webhooks" / "vectors.json"
# The specification's own example of an ed25519 signature is Svix's, whose key pair and content are public.
PRIVATE_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONTENT = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def _vectors() -> list[Any]:
    if not VECTORS.exists():
        return [pytest.param(None, marks=pytest.mark.skip("the corpus of vectors is not on this machine"))]
    vectors = json.loads(VECTORS.read_text())["vectors"]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors if "secret" in vector]


def signature(*keys: str) -> str:
    return signed_headers(keys, *CONTENT)["webhook-signature"]


@pytest.mark.parametrize("vector", _vectors())
def test_vectors_of_the_reference_implementations(vector):
    repeat = vector.get("payload_repeat")
    payload = repeat["char"] * repeat["count"] if repeat else vector["payload"]
    made = signed_headers([vector["secret"]], vector["msg_id"], vector["timestamp"], payload.encode())
    assert (made["webhook-signature"] in vector["signature"].split(" ")) is vector["valid"]


def test_the_specifications_examples():
    assert signed_headers([SECRET], *CONTENT) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": V1,
    }
    assert signature(PRIVATE_KEY) == V1A
    assert public_key_of(PRIVATE_KEY) == PUBLIC_KEY


def test_the_list_has_a_signature_of_each_key_in_their_order():
    other = new_secret()
    assert signature(SECRET, PRIVATE_KEY, other) == f"{V1} {V1A} {signature(other)}"
    assert signature(other) != V1


@given(st.binary(max_size=200))
def test_a_receiver_verifies_it_with_the_public_key_alone(body):
    private_key = new_private_key()
    headers = signed_headers([private_key], "msg_1", 1700000000, body)
    key = Ed25519PublicKey.from_public_bytes(
        base64.b64decode(public_key_of(private_key).removeprefix("whpk_"))
    )
    made = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
    key.verify(made, b"msg_1.1700000000." + body)
    with pytest.raises(InvalidSignature):
        key.verify(made, b"msg_1.1700000001." + body)


def test_a_receiver_with_the_reference_library_accepts_either_secret_of_a_rotation():
    old, new, body = new_secret(), new_secret(), '{"name":"Müller"}'.encode()
    headers = signed_headers([new, new_private_key(), old], "msg_1", int(time.time()), body)
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers) == {"name": "Müller"}


def test_secrets_and_keys_are_as_long_as_the_specification_wants_and_never_the_same():
    secrets, keys = {new_secret() for _ in range(50)}, {new_private_key() for _ in range(50)}
    assert len(secrets) == len(keys) == 50
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)
    assert all(len(base64.b64decode(key.removeprefix("whsk_"))) == 64 for key in keys)
    assert {signature_of(key) for key in secrets} == {"hmac"}
    assert {signature_of(key) for key in keys} == {"ed25519"}


@given(st.binary(max_size=100))
def test_a_secret_has_24_to_64_bytes(value):
    secret = f"whsec_{base64.b64encode(value).decode()}"
    if 24 <= len(value) <= 64:
        assert checked_secret(secret) == secret
        signed_headers([secret], *CONTENT)
    else:
        with pytest.raises(ValueError, match="must be 24 to 64 bytes"):
            checked_secret(secret)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("", "must begin with"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must begin with"),
        (PRIVATE_KEY, "must begin with"),
        ("whsec_", "24 to 64 bytes"),
        ("whsec_not*base64", "must be base64"),
        (f"{SECRET}\n", "must be base64"),
        (f"{SECRET}ä", "must be base64"),
        (f"{SECRET}=", "must be base64"),
    ],
)
def test_a_malformed_secret_is_refused_and_not_repeated(secret, told):
    with pytest.raises(ValueError, match=told) as refused:
        checked_secret(secret)
    assert secret.removeprefix("whsec_") == "" or secret not in str(refused.value)
