"""`penstock verify`: what it finds, in which words, and how it ends."""

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from penstock.home import new_receipt_key
from penstock.verifying import NOT_VALID, UNREADABLE, VALID, Order, run
from services.results.receipts.signing import ReceiptKeys, private_key_of
from tests.cli.given import penstock

KEYS = ReceiptKeys(private_key_of(new_receipt_key()))
CONTENT = b"isbn\n1\n2\n"
IMPORT = str(UUID(int=7))
RECEIPT = {
    "import_id": IMPORT,
    "file_name": "books.csv",
    "file_size": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "rows_read": 1002,
    "rows_inserted": 1000,
    "rows_updated": 0,
    "rows_unchanged": 0,
    "rows_duplicate": 1,
    "rows_rejected": 1,
    "duration_seconds": 0.25,
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(KEYS.jwk_set))
    return path


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    return written(tmp_path, KEYS.signed(RECEIPT))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "books.csv"
    path.write_bytes(CONTENT)
    return path


def written(folder: Path, receipt: object) -> Path:
    path = folder / "receipt.json"
    path.write_text(json.dumps(receipt))
    return path


def verified(capsys: pytest.CaptureFixture[str], receipt: Path, keys: Path, file: Path | None = None) -> Any:
    """The exit code, and what was found: right or not, by check."""
    code = run(Order(str(receipt), str(keys), file), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] == (code == VALID)
    return code, {check["check"]: check["right"] for check in said["checks"]}


def test_a_valid_receipt_is_told_in_words(receipt: Path, keys: Path, file: Path) -> None:
    done = penstock("verify", receipt, "--keys", keys, "--file", file)

    assert (done.returncode, done.stderr) == (0, "")
    signature, balance, of_file, whole = done.stdout.splitlines()
    assert signature.startswith("signature  right  as it was signed with the key ")
    assert balance == (
        "balance    right  1,002 read = 1,000 inserted + 0 updated + 0 unchanged + 1 duplicate + 1 rejected"
    )
    assert (
        of_file
        == f"file       right  {file} has the 9 bytes of this receipt, and the SHA-256 {RECEIPT['sha256']}"
    )
    assert whole == f"The receipt of import {IMPORT} is valid."


@pytest.mark.parametrize("name", [*RECEIPT, "added"])
def test_a_member_that_was_changed_is_found(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    forged = KEYS.signed(RECEIPT) | {name: 7}
    code, found = verified(capsys, written(tmp_path, forged), keys)
    assert (code, found["signature"]) == (NOT_VALID, False)


def test_what_is_signed_must_still_add_up(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unbalanced = written(tmp_path, KEYS.signed(RECEIPT | {"rows_rejected": 2}))
    assert verified(capsys, unbalanced, keys) == (NOT_VALID, {"signature": True, "balance": False})
    run(Order(str(unbalanced), str(keys), None), as_json=False)
    _, balance, whole = capsys.readouterr().out.splitlines()
    assert balance.startswith("balance    WRONG  1,002 read, but 1,000 inserted + ")
    assert whole == f"The receipt of import {IMPORT} is NOT valid."


def test_another_file_is_told_from_the_same_one_packed(
    receipt: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, other = tmp_path / "books.csv.gz", tmp_path / "other.csv"
    packed.write_bytes(gzip.compress(CONTENT))
    assert verified(capsys, receipt, keys, packed)[0] == VALID
    other.write_bytes(CONTENT.replace(b"2", b"3"))
    code, found = verified(capsys, receipt, keys, other)
    assert (code, found) == (NOT_VALID, {"signature": True, "balance": True, "file": False})


def test_keys_of_somebody_else_are_not_enough(
    receipt: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.write_text(json.dumps(ReceiptKeys(private_key_of(new_receipt_key())).jwk_set))
    assert verified(capsys, receipt, keys) == (NOT_VALID, {"signature": False, "balance": True})


def test_from_standard_input(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = json.dumps(KEYS.signed(RECEIPT)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sent)))
    assert verified(capsys, Path("-"), keys)[0] == VALID


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no receipt: it is no JSON"),
        ("[1]", "is no receipt: it is JSON, but no object"),
        ('{"rows_read": 1, "rows_read": 2}', "a member is in it twice"),
        ("[" * 100_000, "is no receipt"),
        ("\ud800", "is no receipt"),
    ],
)
def test_what_is_no_receipt(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert run(Order(str(path), str(keys), None), as_json=False) == UNREADABLE
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys": []}', '{"keys": [{"crv": "Ed25519", "kid": "a", "x": "AA"}]}', "[]"]
)
def test_what_are_no_keys(receipt: Path, keys: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    keys.write_text(text)
    assert run(Order(str(receipt), str(keys), None), as_json=False) == UNREADABLE
    assert f"{keys} has no public keys: " in capsys.readouterr().err


def test_what_cannot_be_read_is_named(
    receipt: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "http://127.0.0.1:1/api/v1/receipts/keys"
    nowhere = tmp_path / "nowhere.csv"
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(gzip.compress(CONTENT)[:-9])
    for order, named in (
        (Order(str(nowhere), str(keys), None), nowhere),
        (Order(str(receipt), away, None), away),
        (Order(str(receipt), str(keys), nowhere), nowhere),
        (Order(str(receipt), str(keys), damaged), damaged),
    ):
        assert run(order, as_json=False) == UNREADABLE
        assert capsys.readouterr().err.startswith(f"{named} cannot be read: ")


def test_nothing_that_a_forger_wrote_reaches_the_terminal(
    tmp_path: Path, keys: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2Jvalid"
    members: dict[str, Any] = dict.fromkeys(RECEIPT, evil)
    forged = written(
        tmp_path, members | {"signature": {"algorithm": "Ed25519", "keyId": evil, "value": evil}}
    )
    assert run(Order(str(forged), str(keys), file), as_json=False) == NOT_VALID
    assert "\x1b" not in capsys.readouterr().out
