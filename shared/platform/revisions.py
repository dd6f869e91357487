"""Revisions of a schema: files `<owner>_<four digits>.py`, which follow each other by their numbers. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_REVISION = re.compile(r"[a-z]+_\d{4}")


@dataclass(frozen=True)
class SchemaState:
    """How a schema stands to this version of the code.

    Attributes:
        at: The revision it is at; None: it is not there yet.
        pending: What `migrate` would do, in this order.
        ahead: A later version of Penstock has migrated it. This one runs on it all the same.
    """

    schema: str
    at: str | None
    pending: Sequence[str]
    ahead: bool


def revisions_in(versions: Path) -> Sequence[str]:
    """The revisions in a folder, the first one first."""
    return sorted(path.stem for path in versions.glob("*.py") if _REVISION.fullmatch(path.stem))


def is_behind(at: str | None, revision: str) -> bool:
    """Whether a schema that is `at` one revision has not got another yet."""
    return at is None or _number(at) < _number(revision)


def state_of(schema: str, at: str | None, revisions: Sequence[str]) -> SchemaState:
    """How a schema stands that is `at` a revision, for code that has `revisions`."""
    pending = [each for each in revisions if is_behind(at, each)]
    return SchemaState(schema, at, pending, ahead=at is not None and is_behind(revisions[-1], at))


def _number(revision: str) -> int:
    return int(revision.rpartition("_")[2])
