"""`penstock clean`: the same data as clean CSV (RFC 4180) in UTF-8, file by file."""

import codecs
import csv
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.opening import InputFile, shown
from shared.reading.cleaning import Cleaner
from shared.reading.errors import FileEmpty, UnreadableFile
from shared.reading.overrides import DialectOverrides, encoding_named

CLEANED, FAILED = 0, 1  # exit codes


class NotCleaned(Exception):
    """One file is not written, or lacks records. The others are."""


@dataclass(frozen=True)
class Order:
    """What to clean, and how.

    Attributes:
        out_dir: Where to; made if it is not there.
        given: What need not be found.
        transcode_from: An encoding that only Python knows, turned into UTF-8 on the way in.
    """

    files: Sequence[Path]
    out_dir: Path
    given: DialectOverrides
    transcode_from: str | None = None


def only_python_knows(encoding: str) -> bool:
    """Whether an encoding is none of those that are found and imported, but can be turned into one."""
    if encoding_named(encoding):
        return False
    try:
        b"a".decode(encoding, "replace")
        codecs.getincrementaldecoder(encoding)
    except (LookupError, UnicodeError):
        return False
    return True


def run(order: Order) -> int:
    """Clean each file into the folder, under its own name without `.gz`. What goes wrong is said on standard error.

    Returns:
        CLEANED, or FAILED if a file was not written or lacks records.

    Raises:
        OSError: the folder cannot be made.
    """
    order.out_dir.mkdir(parents=True, exist_ok=True)
    inputs = set(map(_identity, order.files))
    written: set[Path] = set()
    failed = False
    for file in order.files:
        try:
            _clean(file, order, inputs, written)
        except (
            NotCleaned,
            OSError,
            ValueError,
        ) as error:  # an unreadable file is one of value, as is a wrong code
            failed = True
            _say(file, _reason(error))
    return FAILED if failed else CLEANED


def _say(file: Path, text: str) -> None:
    sys.stderr.write(f"{shown(file)}: {text}\n")


def _reason(error: Exception) -> str:
    if isinstance(error, UnreadableFile):
        return f"{error.message} {error.hint}"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells the file from any other, whatever names it has; None if it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _clean(file: Path, order: Order, inputs: Collection[tuple[int, int] | None], written: set[Path]) -> None:
    name = file.name[: -len(".gz")] if file.suffix.lower() == ".gz" else file.name
    target = order.out_dir / name
    if target in written:
        raise NotCleaned(f"another file of this call was written to {shown(target)} already")
    if (known := _identity(target)) is not None and known in inputs:
        onto = "itself" if known == _identity(file) else f"{shown(target)}, a file to clean"
        raise NotCleaned(f"it would be written onto {onto}; give another --out-dir")
    partial = order.out_dir / f".{name}.partial"
    try:
        cleaner = _write(InputFile(file, order.transcode_from), partial, order.given)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    written.add(target)
    if cleaner is None:
        return
    if cleaner.further_table is not None:
        _say(file, f"a further table begins in line {cleaner.further_table}; only the first one is written.")
    if cleaner.left_out:
        raise NotCleaned(_left_out(cleaner))


def _write(source: InputFile, target: Path, given: DialectOverrides) -> Cleaner | None:
    """Write the clean rows; of a file without any there are none."""
    with target.open("w", encoding="utf-8", newline="") as out:
        try:
            found = source.detected(given)
        except FileEmpty:
            return None
        cleaner = Cleaner(found.dialect, found.width)
        # CRLF ends a record (RFC 4180, rule 1); the writer quotes what holds one.
        writer = csv.writer(out, lineterminator="\r\n")
        for block in source.blocks():
            writer.writerows(cleaner.feed(block))
        writer.writerows(cleaner.finish())
        return cleaner


def _left_out(cleaner: Cleaner) -> str:
    number, line, fault = cleaner.left_out[0]
    others = len(cleaner.left_out) - 1
    more = f" So {'is' if others == 1 else 'are'} {others} more." if others else ""
    return f"record {number} in line {line} is left out. {fault.message}{more}"
