"""What the records of a dataset may be filtered and sorted by: its declared fields, and what every record has. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from services.results.records.models import is_always_there
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.record_keys import has_parts

Kind = Literal["string", "integer", "number", "boolean", "date", "datetime", "year", "uuid"]
Operator = Literal["eq", "in", "prefix", "contains", "gte", "gt", "lte", "lt", "isnull"]

# By what a column holds: how a parameter may ask for it. `eq` is the column's bare name.
_OPERATORS: Mapping[Kind, tuple[Operator, ...]] = MappingProxyType(
    {
        "string": ("eq", "in", "prefix", "contains"),
        "integer": ("eq", "in", "gte", "gt", "lte", "lt"),
        "number": ("eq", "in", "gte", "gt", "lte", "lt"),
        "boolean": ("eq",),
        "date": ("eq", "in", "gte", "gt", "lte", "lt"),
        "datetime": ("eq", "gte", "gt", "lte", "lt"),
        "year": ("eq", "in", "gte", "gt", "lte", "lt"),
        "uuid": ("eq", "in"),
    }
)


@dataclass(frozen=True)
class Column:
    """A column of a dataset's view.

    Attributes:
        nullable: Whether a record may have no value in it.
        ignores_case: Whether two texts that differ in case only are equal.
        key_column: The column of the view that holds the text as keys are compared, byte by byte, where there is one:
            the key of the record itself, or of the record of another dataset that the text names.
        is_indexed: Whether an index has the records in the order of its values.
        timezone: Of a datetime whose value says none, and of a day.
    """

    name: str
    kind: Kind
    nullable: bool = False
    ignores_case: bool = False
    key_column: str | None = None
    is_indexed: bool = False
    timezone: str = "UTC"
    description: str = ""

    @property
    def operators(self) -> tuple[Operator, ...]:
        return (*_OPERATORS[self.kind], "isnull") if self.nullable else _OPERATORS[self.kind]

    def parameter(self, operator: Operator) -> str:
        """The query parameter that asks for it."""
        return self.name if operator == "eq" else f"{self.name}__{operator}"


OF_EVERY_RECORD = (
    Column("import_id", "uuid", nullable=True, description="The import that wrote the record last."),
    Column("created_at", "datetime", description="When the record came first."),
    Column("updated_at", "datetime", description="When the record was written last."),
)


@cache
def columns_of(dataset: Dataset) -> Mapping[str, Column]:
    """By name, in declared order."""
    declared = [
        Column(
            name=field.name,
            kind=field.type,
            nullable=not is_always_there(field),
            ignores_case=_compared(dataset, field.name).key_comparison == "ignore-case",
            key_column=_key_column(dataset, field.name),
            is_indexed=field.name == dataset.newest_by,
            timezone=field.timezone,
            description=field.description,
        )
        for field in dataset.fields
    ]
    return MappingProxyType({column.name: column for column in (*declared, *OF_EVERY_RECORD)})


def _compared(dataset: Dataset, name: str) -> Dataset:
    """Whose keys the texts of that field are compared as."""
    other = dataset.references.get(name)
    return datasets().get(other, dataset) if other else dataset


def _key_column(dataset: Dataset, name: str) -> str | None:
    if name in dataset.references:
        return f"{name}_key"
    return "key" if dataset.primary_key == (name,) and not has_parts(dataset) else None
