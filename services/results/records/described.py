"""What OpenAPI says of the parameters of a dataset's lists. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from services.results.records.columns import Column, Kind, Operator, columns_of
from services.results.records.filters import MAX_TEXT, MAX_VALUES, parameters_of
from services.results.records.ordering import BY_ID, SORTED_CHARACTERS, default_sort
from shared.contracts.datasets import Dataset

_SCHEMAS: Mapping[Kind, Mapping[str, Any]] = MappingProxyType(
    {
        "string": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
        "integer": {"type": "integer"},
        "number": {"type": "number"},
        "boolean": {"type": "boolean"},
        "date": {"type": "string", "format": "date"},
        "datetime": {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]},
        "year": {"type": "integer"},
        "uuid": {"type": "string", "format": "uuid"},
    }
)
_MEANINGS: Mapping[Operator, str] = MappingProxyType(
    {
        "eq": "{} is this",
        "in": f"{{}} is one of these, with commas between; at most {MAX_VALUES}. A value with a comma in it goes in double quotes",
        "prefix": "{} begins with this",
        "contains": "{} has this in it. Looks at every record that is left, so narrow it where there are many",
        "gte": "{} is this or more",
        "gt": "{} is more than this",
        "lte": "{} is this or less",
        "lt": "{} is less than this",
        "isnull": "{} has no value (`true`), or has one (`false`)",
    }
)


def list_parameters(dataset: Dataset) -> list[dict[str, Any]]:
    """The OpenAPI parameters for filters, search and sort, as a list and an export of the dataset take them."""
    filters = [_filter(column, operator) for column, operator in parameters_of(dataset).values()]
    return [*_search(dataset), _sort(dataset), *filters]


def _filter(column: Column, operator: Operator) -> dict[str, Any]:
    schema = {"type": "boolean"} if operator == "isnull" else dict(_SCHEMAS[column.kind])
    described = _parameter(column.parameter(operator), schema, _description(column, operator))
    if operator == "in":
        several = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_VALUES}
        described |= {"schema": several, "style": "form", "explode": False}
    return described


def _description(column: Column, operator: Operator) -> str:
    meaning = _MEANINGS[operator].format(f"`{column.name}`")
    if column.kind == "datetime" and operator != "isnull":
        return (
            f"{meaning}; a day stands for all of it ({column.timezone}), as does a moment without an offset"
        )
    if column.kind == "string" and operator != "isnull":
        return f"{meaning}, {_case(column, operator)}"
    return meaning


def _case(column: Column, operator: Operator) -> str:
    always = operator in {"prefix", "contains"} and not column.key_column
    return "ignoring case" if column.ignores_case or always else "in the same case"


def _search(dataset: Dataset) -> list[dict[str, Any]]:
    if not dataset.search:
        return []
    fields = ", ".join(f"`{name}`" for name in dataset.search)
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    return [
        _parameter(
            "search",
            schema,
            f"Every one of these words occurs in {fields}; the last one may be the beginning of a word. Words are runs of"
            " letters and digits, and compared ignoring case and diacritics",
        )
    ]


def _sort(dataset: Dataset) -> dict[str, Any]:
    names = [BY_ID, *columns_of(dataset)]
    default = default_sort(dataset)
    schema = {"type": "string", "enum": [*names, *(f"-{name}" for name in names)], "default": default}
    return _parameter(
        "sort",
        schema,
        "By what; with a `-` before it the other way round. Records without a value come last either way. Texts are compared"
        f" ignoring case, by their first {SORTED_CHARACTERS} characters; records that are equal come in the order of their keys",
    )


def _parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
