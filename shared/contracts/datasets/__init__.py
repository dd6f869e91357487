"""Datasets are declared, not coded: one JSON file each, a Table Schema (Frictionless Data Package v2) plus our keys."""

from functools import cache
from importlib.resources import files

from shared.contracts.datasets.model import Constraints, Dataset, DatasetField

__all__ = ["Constraints", "Dataset", "DatasetField", "datasets", "row_errors_in"]


def row_errors_in(dataset: str, *, rejected: int, duplicate: int) -> int:
    """How many records of an import into `dataset` have a row error.

    A dataset that is not declared here, as a newer sender may name it, counts its duplicates too: better told than lost.
    """
    declared = datasets().get(dataset)
    if declared is None:
        return rejected + duplicate
    return declared.row_errors_in(rejected=rejected, duplicate=duplicate)


@cache
def datasets() -> dict[str, Dataset]:
    """Every declared dataset by name."""
    found = (
        Dataset.model_validate_json(entry.read_text("utf-8"))
        for entry in sorted(files(__name__).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    )
    return {dataset.name: dataset for dataset in found}
