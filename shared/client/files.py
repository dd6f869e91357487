"""A file as an investigation event tells of it."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def described_file(path: Path | str, *, rows: int | None = None, hashed: bool = True) -> dict[str, Any]:
    """Its path, size in bytes and SHA-256, for which it is read once; of one that cannot be read, the path alone.

    Args:
        rows: How many it has, if that is known.
        hashed: Whether to read it.
    """
    described: dict[str, Any] = {"path": os.fspath(path), "rows": rows}
    with suppress(OSError):  # the error to report may be just that
        described["size"] = Path(path).stat().st_size
        if hashed:
            with Path(path).open("rb") as file:
                described["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return {name: value for name, value in described.items() if value is not None}
