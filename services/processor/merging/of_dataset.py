"""Which statements a dataset has: by what it does with a duplicate."""

from collections.abc import Mapping

from services.processor.merging.ignore import ignore
from services.processor.merging.merge import Merge
from services.processor.merging.overwrite import overwrite
from services.processor.merging.reject import reject
from shared.contracts.datasets import Dataset

_KINDS = {"overwrite": overwrite, "reject": reject, "ignore": ignore}


def merge_of(dataset: Dataset, columns: Mapping[str, int], stage: str) -> Merge:
    """The statements that load the table `stage` into a dataset, for a file that brings `columns`."""
    return _KINDS[dataset.on_duplicate](dataset, columns, stage)
