"""Datasets are declared, not coded: one JSON file each, a Table Schema (Frictionless Data Package v2) plus our keys."""

from functools import cache
from importlib.resources import files
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

IDENTIFIER = r"^[a-z][a-z0-9_]{0,62}$"  # becomes a column name
DATASET_NAME = r"^[a-z][a-z0-9-]{0,62}$"  # becomes a table name, with _ for -


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Constraints(_Declared):
    """Table Schema constraints. Lengths count characters; `minimum` and `maximum` are inclusive."""

    required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | Literal["next-year"] | None = None


class DatasetField(_Declared):
    """One column. Ours beside Table Schema: `aliases`, `format: isbn`, `in_file`, `default`.

    Attributes:
        aliases: Other header names, compared as headers are (ignoring case, spaces, `_` and `-`).
        in_file: False for a column that files never bring and an import never touches.
        default: What a new record has where files bring no such column. The table's column default does it; here
            it is said to those who read the declaration.
    """

    name: str = Field(pattern=IDENTIFIER)
    type: Literal["string", "integer", "boolean"]
    title: str
    description: str = ""
    format: Literal["default", "isbn"] = "default"
    constraints: Constraints = Constraints()
    aliases: tuple[str, ...] = ()
    in_file: bool = True
    default: bool | int | str | None = None
    example: str = ""


class Dataset(_Declared):
    """What a file is, how its records are checked, compared and merged.

    Attributes:
        key_comparison: How two values of the primary key are the same record.
        on_duplicate: `overwrite`: the later record wins; `reject`: the first one stays, the later is a row error.
        noun: The singular used in webhook types (`product.created`).
    """

    name: str = Field(pattern=DATASET_NAME)
    title: str
    noun: str
    description: str = ""
    version: int = 1
    fields: tuple[DatasetField, ...]
    primary_key: tuple[str] = Field(description="one column")
    key_comparison: Literal["exact", "ignore-case", "isbn"] = "exact"
    on_duplicate: Literal["overwrite", "reject"]

    @model_validator(mode="after")
    def _key_is_a_required_field(self) -> Self:
        key = self.field(self.key)
        if not key.constraints.required:
            raise ValueError(f"the key {key.name!r} must be required")
        return self

    @property
    def key(self) -> str:
        return self.primary_key[0]

    @property
    def table(self) -> str:
        """The table of its records in schema `data`."""
        return self.name.replace("-", "_")

    @property
    def file_fields(self) -> tuple[DatasetField, ...]:
        """The columns that a file brings, in declared order."""
        return tuple(field for field in self.fields if field.in_file)

    def row_errors_in(self, *, rejected: int, duplicate: int) -> int:
        """How many of an import's records were not loaded: an overwritten duplicate is no error."""
        return rejected + duplicate if self.on_duplicate == "reject" else rejected

    def field(self, name: str) -> DatasetField:
        """The field of that name.

        Raises:
            LookupError: the dataset has none.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise LookupError(f"dataset {self.name!r} has no field {name!r}")


def row_errors_in(dataset: str, *, rejected: int, duplicate: int) -> int:
    """How many records of an import into `dataset` were not loaded.

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
