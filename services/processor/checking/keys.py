"""The keys that records are compared by."""

from collections.abc import Sequence
from typing import cast

from shared.contracts.datasets import Dataset
from shared.contracts.record_keys import SEPARATOR, folded


def keys_of(dataset: Dataset, *parts: Sequence[str | None]) -> Sequence[str | None]:
    """The keys of `dataset` that are made of `parts`, one sequence for each field of its primary key.

    The parts are values as they are stored. A single part that is None names no record: the key is None.
    """
    keys = parts[0] if len(parts) == 1 else list(map(SEPARATOR.join, zip(*parts, strict=True)))
    return _folded(keys) if dataset.key_comparison == "ignore-case" else keys


def _folded(keys: Sequence[str | None]) -> Sequence[str | None]:
    """Canonical caseless matching (Unicode Standard, D145)."""
    if None in keys:
        return [key and folded(key) for key in keys]
    present = cast("Sequence[str]", keys)
    if all(map(str.isascii, present)):
        return list(map(str.lower, present))  # the same, for ASCII
    return list(map(folded, present))
