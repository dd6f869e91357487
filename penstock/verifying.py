"""`penstock verify`: whether a receipt is what Penstock signed, adds up, and is of a certain file."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from penstock.opening import InputFile, shown
from shared.client.client import is_loopback
from shared.client.receipts import (
    Json,
    NoKeys,
    NoReceipt,
    ReceiptWrong,
    keys_from,
    receipt_from,
    verify_balance,
    verify_signature,
)
from shared.reading.errors import UnreadableFile

VALID, NOT_VALID, UNREADABLE = 0, 1, 2  # exit codes
FETCH_SECONDS = 10.0


class CannotVerify(Exception):
    """Something that is needed for it cannot be read; the message says what and why."""


@dataclass(frozen=True)
class Order:
    """What to check.

    Attributes:
        receipt: A file, or `-`: standard input.
        keys: A file with the public keys, or the URL of it.
        file: What the receipt should be of; may be packed.
    """

    receipt: str
    keys: str
    file: Path | None


@dataclass(frozen=True)
class Finding:
    """What one check has shown, in words."""

    check: str
    right: bool
    detail: str


def run(order: Order, *, as_json: bool) -> int:
    """Check and report on standard output; what cannot be read is said on standard error.

    Returns:
        VALID, NOT_VALID or UNREADABLE.
    """
    try:
        receipt = _receipt(order.receipt)
        findings = list(_findings(receipt, order))
    except CannotVerify as error:
        sys.stderr.write(f"{error}\n")
        return UNREADABLE
    valid = all(finding.right for finding in findings)
    sys.stdout.write(_as_json(receipt, findings) if as_json else _in_words(receipt, findings))
    return VALID if valid else NOT_VALID


def _findings(receipt: Json, order: Order) -> Iterator[Finding]:
    text = _read(order.keys)
    try:
        keys = keys_from(text)
    except NoKeys as error:
        raise CannotVerify(f"{order.keys} has no public keys: {error}") from error
    yield _finding(
        "signature",
        lambda: f"as it was signed with the key {verify_signature(receipt, keys)}, and not changed since",
    )
    yield _finding("balance", lambda: verify_balance(receipt))
    if (file := order.file) is not None:
        size, sha256 = _measured(file)
        yield _finding("file", lambda: _verify_file(receipt, shown(file), size, sha256))


def _finding(check: str, verify: Callable[[], str]) -> Finding:
    try:
        return Finding(check, right=True, detail=verify())
    except ReceiptWrong as error:
        return Finding(check, right=False, detail=str(error))


def _verify_file(receipt: Json, name: str, size: int, sha256: str) -> str:
    if receipt.get("sha256") != sha256 or receipt.get("file_size") != size:
        raise ReceiptWrong(
            f"{name} is not the file of this receipt, which has {receipt.get('file_size')!r} bytes and the SHA-256"
            f" {receipt.get('sha256')!r}; it has {size} and {sha256!r}"
        )
    return f"{name} has the {size:,} bytes of this receipt, and the SHA-256 {sha256}"


def _measured(file: Path) -> tuple[int, str]:
    """Bytes of the file, unpacked, and their SHA-256."""
    digest = hashlib.sha256()
    size = 0
    try:
        for block in InputFile(file).blocks():
            digest.update(block)
            size += len(block)
    except OSError as error:
        raise CannotVerify(f"{shown(file)} cannot be read: {error.strerror}") from error
    except UnreadableFile as error:
        raise CannotVerify(f"{shown(file)} cannot be read: {error}") from error
    return size, digest.hexdigest()


def _receipt(named: str) -> Json:
    text = sys.stdin.buffer.read() if named == "-" else _read_file(named)
    try:
        return receipt_from(text)
    except NoReceipt as error:
        raise CannotVerify(f"{'standard input' if named == '-' else named} is no receipt: {error}") from error


def _read(named: str) -> bytes:
    return _fetched(named) if named.startswith(("https://", "http://")) else _read_file(named)


def _read_file(named: str) -> bytes:
    try:
        return Path(named).read_bytes()
    except OSError as error:
        raise CannotVerify(f"{named} cannot be read: {error.strerror}") from error


def _fetched(url: str) -> bytes:
    try:
        # A proxy for the world outside does not reach this machine.
        trust_env = not is_loopback(urlsplit(url).hostname)
        answer = httpx.get(url, timeout=FETCH_SECONDS, follow_redirects=True, trust_env=trust_env)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CannotVerify(
            f"{url} cannot be read: {reason}. Keys from a file need no network: --keys FILE"
        ) from error
    return answer.content


def _in_words(receipt: Json, findings: list[Finding]) -> str:
    lines = [f"{each.check:<11}{'right' if each.right else 'WRONG'}  {each.detail}" for each in findings]
    valid = all(finding.right for finding in findings)
    return "\n".join([*lines, f"The receipt{_whose(receipt)} is {'valid' if valid else 'NOT valid'}.", ""])


def _whose(receipt: Json) -> str:
    """Of which import it is; nothing that a forger may have put in its place is printed."""
    try:
        return f" of import {UUID(receipt['import_id'])}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _as_json(receipt: Json, findings: list[Finding]) -> str:
    document = {
        "valid": all(finding.right for finding in findings),
        "import_id": receipt.get("import_id"),
        "checks": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, indent=2) + "\n"
