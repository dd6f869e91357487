"""Signatures agree with the specification's reference implementations."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from services.notifier.signing import new_secret, sign, signed_headers

VECTORS = Path(__file__).parents[3] / "shared" / "corpus" / "vectors" / "standard-webhooks" / "vectors.json"


def _vectors() -> list[Any]:
    if not VECTORS.exists():
        return [pytest.param(None, marks=pytest.mark.skip("the corpus of vectors is not on this machine"))]
    vectors = json.loads(VECTORS.read_text())["vectors"]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors if vector["scheme"] == "v1"]


@pytest.mark.parametrize("vector", _vectors())
def test_vectors_of_the_reference_implementations(vector):
    repeat = vector.get("payload_repeat")
    payload = repeat["char"] * repeat["count"] if repeat else vector["payload"]
    signature = sign(vector["secret"], vector["msg_id"], vector["timestamp"], payload.encode())
    assert (signature in vector["signature"].split(" ")) is vector["valid"]


def test_a_receiver_with_the_reference_library_accepts_it():
    secret, body = new_secret(), '{"name":"Müller"}'.encode()
    headers = signed_headers(secret, "msg_1", int(time.time()), body)
    assert Webhook(secret).verify(body, headers) == {"name": "Müller"}


def test_a_secret_has_256_random_bits():
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)


def test_a_malformed_secret_is_refused():
    with pytest.raises(ValueError, match="base64"):
        sign("whsec_not*base64", "msg_1", 0, b"")
