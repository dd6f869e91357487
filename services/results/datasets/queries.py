"""The verb of datasets: the declarations, and their template files."""

import csv
import io

from shared.contracts.datasets import Dataset, datasets
from shared.contracts.problems import NotFound


def find_dataset(name: str) -> Dataset:
    """The declared dataset of that name.

    Raises:
        NotFound: `dataset_not_found`, with those there are.
    """
    declared = datasets()
    if name not in declared:
        raise NotFound(
            "dataset_not_found",
            f"there is no dataset {name!r}",
            hint=f"there are: {', '.join(declared)}",
            datasets=list(declared),
        )
    return declared[name]


def template_csv(dataset: Dataset) -> str:
    """A file to begin with: the header and one example record (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in dataset.file_fields)
    writer.writerow(field.example for field in dataset.file_fields)
    return text.getvalue()
