"""Receipts: signed so that anybody can check them, by an implementation that is none of ours."""

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.home import new_receipt_key
from services.results.receipts.resources import Receipt
from services.results.receipts.signing import NotAKey, ReceiptKeys, private_key_of, public_key_of
from services.results.settings import Settings
from shared.client.receipts import ReceiptWrong, keys_from, receipt_from, verify_balance, verify_signature
from tests.results.conftest import Results
from tests.results.given import Database

EXACT = st.integers(-(2**53) + 1, 2**53 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | EXACT | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(TEXT.filter(lambda name: name != "signature"), VALUES, min_size=1, max_size=5)
PLACES = st.lists(st.integers(0, 9), max_size=4)
KEYS = ReceiptKeys(Ed25519PrivateKey.generate())
PUBLIC = keys_from(json.dumps(KEYS.jwk_set).encode())
COUNTS = dict(
    zip(
        ("rows_inserted", "rows_updated", "rows_unchanged", "rows_duplicate", "rows_rejected"),
        range(5),
        strict=True,
    )
)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value: Any) -> str:
    """RFC 8785, from its text: ECMAScript's numbers and strings, members by UTF-16 code units."""
    match value:
        case dict():
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case float():
            return number(value)
    return json.dumps(value, ensure_ascii=False)


def number(value: float) -> str:
    """ECMAScript, Number::toString: the shortest digits, with an exponent from 1e21 on and below 1e-6."""
    sign, digits, exponent = ("-" if value < 0 else "", *f"{abs(value)!r}e0".split("e")[:2])
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).lstrip("0")
    point = int(exponent) + len(whole) - (len(whole + fraction) - len(significant))
    significant = significant.rstrip("0")
    if not significant:
        return "0"
    count = len(significant)
    if count <= point <= 21:
        return sign + significant + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{significant[:point]}.{significant[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{significant}"
    mantissa = significant[0] + (f".{significant[1:]}" if count > 1 else "")
    return f"{sign}{mantissa}e{point - 1:+d}"


def check_as_a_stranger_would(receipt: dict[str, Any], jwk_set: dict[str, Any]) -> None:
    """Raises InvalidSignature. All that it knows of us is what OpenAPI says."""
    value = unpadded(receipt["signature"].pop("value"))
    [x] = [key["x"] for key in jwk_set["keys"] if key["kid"] == receipt["signature"]["keyId"]]
    Ed25519PublicKey.from_public_bytes(unpadded(x)).verify(value, canonical(receipt).encode())


async def test_a_receipt_is_signed_and_anybody_can_check_it(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    await database.receipt(import_id)
    answer = await results.get(f"/imports/{import_id}/receipt")
    receipt = answer.json()
    assert set(receipt) == set(Receipt.model_fields)
    assert Receipt.model_validate(receipt).import_id == import_id
    published = await results.client.get("/api/v1/receipts/keys")  # without a token
    assert published.headers["content-type"] == "application/jwk-set+json"
    assert published.headers["cache-control"] == "public, max-age=300"
    [key] = published.json()["keys"]
    assert jwt.PyJWK(key).key_id == receipt["signature"]["keyId"] == key["kid"]
    check_as_a_stranger_would(answer.json(), published.json())
    keys = keys_from(published.content)
    assert verify_signature(receipt_from(answer.content), keys) == key["kid"]
    assert verify_balance(receipt) == (
        "100 read = 97 inserted + 0 updated + 0 unchanged + 0 duplicate + 3 rejected"
    )
    assert (await results.get(f"/imports/{import_id}/receipt")).json() == receipt


async def test_an_import_without_a_receipt_yet(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import()
    answer = await results.get(f"/imports/{import_id}/receipt")
    assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_ready")


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    """RFC 8037, appendix A.1 to A.3."""
    key = Ed25519PrivateKey.from_private_bytes(unpadded("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
    [jwk] = ReceiptKeys(key).jwk_set["keys"]
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@given(DOCUMENTS)
def test_whatever_is_in_it_a_stranger_reads_what_was_signed(document: dict[str, Any]) -> None:
    assert rfc8785.dumps(document).decode() == canonical(document)
    sent = json.dumps(KEYS.signed(document)).encode()
    check_as_a_stranger_would(json.loads(sent), KEYS.jwk_set)
    verify_signature(receipt_from(sent), PUBLIC)


@given(DOCUMENTS, PLACES, VALUES, st.sampled_from(["replace", "remove", "add"]))
def test_whatever_is_changed_breaks_it(
    document: dict[str, Any], places: list[int], value: Any, how: str
) -> None:
    signed = KEYS.signed(document)
    changed = json.loads(json.dumps(signed))
    change(changed, places, value, how)
    assume(canonical(changed) != canonical(signed))
    with pytest.raises(ReceiptWrong):
        verify_signature(changed, PUBLIC)


def change(node: Any, places: list[int], value: Any, how: str) -> None:
    """Change something somewhere in the document; `places` lead there."""
    for step in places:
        inner = [
            each
            for each in (node.values() if isinstance(node, dict) else node)
            if isinstance(each, dict | list) and each
        ]
        if not inner:
            break
        node = inner[step % len(inner)]
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = keys[sum(places) % len(keys)]
    if how == "remove":
        del node[key]
    elif how == "add" and isinstance(node, dict):
        node["added"] = value
    else:
        node[key] = value


@pytest.mark.parametrize("member", ["algorithm", "keyId", "value"])
def test_what_the_signature_says_of_itself_counts_too(member: str) -> None:
    signed = KEYS.signed({"rows_read": 1})
    stranger = ReceiptKeys(Ed25519PrivateKey.generate())
    forged = stranger.signed({"rows_read": 1})
    both = PUBLIC | keys_from(json.dumps(stranger.jwk_set).encode())
    for value in ("", "Ed448", signed["signature"][member] + "=", forged["signature"][member] * 2, 7, None):
        with pytest.raises(ReceiptWrong):
            verify_signature(signed | {"signature": signed["signature"] | {member: value}}, both)
    mixed = signed | {"signature": signed["signature"] | {"keyId": forged["signature"]["keyId"]}}
    with pytest.raises(ReceiptWrong, match="changed"):
        verify_signature(mixed, both)
    # Of the last character of 86 two bits count: there are 16 ways to write it, of which one is taken.
    value = signed["signature"]["value"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet.replace(value[-1], ""):
        with pytest.raises(ReceiptWrong):
            verify_signature(
                signed | {"signature": signed["signature"] | {"value": value[:-1] + last}}, PUBLIC
            )


@given(
    st.dictionaries(
        st.sampled_from([*COUNTS, "rows_read"]), st.integers(0, 3) | st.booleans() | st.text(max_size=2)
    )
)
def test_a_balance_that_is_none_is_found(changes: dict[str, Any]) -> None:
    counts = COUNTS | {"rows_read": 10} | changes
    numbers = [counts[name] for name in COUNTS]
    right = all(type(count) is int for count in counts.values()) and sum(numbers) == counts["rows_read"]
    if right:
        verify_balance(counts)
    else:
        with pytest.raises(ReceiptWrong):
            verify_balance(counts)


def test_keys_that_went_before_are_published_behind_the_one_that_signs() -> None:
    before, now = (private_key_of(new_receipt_key()) for _ in range(2))
    old = ReceiptKeys(before).signed({"rows_read": 1})
    keys = ReceiptKeys(now, [before.public_key(), now.public_key()])
    assert [key["kid"] for key in keys.jwk_set["keys"]][1:] == [old["signature"]["keyId"]]
    check_as_a_stranger_would(old, keys.jwk_set)
    check_as_a_stranger_would(keys.signed({"rows_read": 2}), keys.jwk_set)
    with pytest.raises(InvalidSignature):
        check_as_a_stranger_would(keys.signed({"rows_read": 2}) | {"rows_read": 3}, keys.jwk_set)


def test_keys_are_taken_in_pem_and_in_one_line(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = new_receipt_key()
    key = private_key_of(pem)
    line = base64.b64encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()
    assert private_key_of(f" {line}\n").private_bytes_raw() == key.private_bytes_raw()
    public = key.public_key()
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    public_line = "".join(public_pem.splitlines()[1:-1])
    assert public_key_of(public_pem) == public_key_of(public_line) == public
    monkeypatch.setenv("PENSTOCK_RECEIPT_KEY", line)
    monkeypatch.setenv("PENSTOCK_RECEIPT_PUBLIC_KEYS", f"{public_line}, {public_pem}")
    assert len(Settings().receipt_public_keys) == 2


RSA_LIKE = base64.b64encode(hashlib.sha512(b"no key").digest()).decode()


@pytest.mark.parametrize("text", ["", "hush", RSA_LIKE, "-----BEGIN RSA PRIVATE KEY-----\nhush\n", "ключ"])
def test_what_is_no_key_is_refused_and_not_shown(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for parse in (private_key_of, public_key_of):
        with pytest.raises(NotAKey, match="Ed25519"):
            parse(text)
    monkeypatch.setenv("PENSTOCK_RECEIPT_KEY", text)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert not text or text not in str(refused.value)


def test_a_private_key_is_not_published_by_mistake(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_RECEIPT_PUBLIC_KEYS", new_receipt_key())
    with pytest.raises(ValidationError, match="of number 1, it is no Ed25519 public key"):
        Settings()
