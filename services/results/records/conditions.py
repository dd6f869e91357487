"""Conditions on records as SQL, with their row as `r`. Names are those of the declaration, every value is a parameter. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from services.results.records.columns import Kind
from services.results.records.filters import Condition
from services.results.tables import FOLDING
from shared.contracts.record_keys import folded

ParameterType = Kind | Literal["string[]", "integer[]", "number[]", "date[]", "year[]", "uuid[]"]

_OF_SEVERAL: Mapping[Kind, ParameterType] = MappingProxyType(
    {
        "string": "string[]",
        "integer": "integer[]",
        "number": "number[]",
        "date": "date[]",
        "year": "year[]",
        "uuid": "uuid[]",
    }
)
_SIGNS = MappingProxyType({"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"})
_LAST_CHARACTER = chr(0x10FFFF)

_TEXT_TESTS = MappingProxyType({"prefix": "starts_with({}, {})", "contains": "strpos({}, {}) > 0"})


@dataclass(frozen=True)
class Parameter:
    value: Any
    type: ParameterType


@dataclass
class Statement:
    """SQL, in which `:name` stands for the parameter of that name."""

    sql: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)

    def parameter(self, value: Any, kind: ParameterType) -> str:
        """What stands for `value` in the text."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = Parameter(value, kind)
        return f":{name}"


def named(column: str) -> str:
    """The column of the record's row."""
    return f'r."{column}"'


def folded_sql(text: str) -> str:
    """`text`, an SQL expression, as it is compared ignoring case."""
    return f'casefold({text} COLLATE "{FOLDING}")'


def is_foreseen(condition: Condition) -> bool:
    """Whether the planner knows about how many records pass, and may look for them in an index.

    Under row-level security it does for operators that are leakproof: those of numeric and functions of texts are not.
    """
    column = condition.column
    if condition.test == "isnull" or column.kind not in {"string", "number"}:
        return True
    if column.key_column:
        return condition.test != "contains"
    return column.kind == "string" and condition.test == "in" and not column.ignores_case


def test_of(condition: Condition, statement: Statement) -> str:
    """The condition as SQL."""
    column, values = condition.column, condition.values
    name = named(column.name)
    if condition.test == "isnull":
        return f"{name} IS {'' if values[0] else 'NOT '}NULL"
    if condition.test == "within":
        first, end = (statement.parameter(moment, "datetime") for moment in values[0])
        return f"({name} >= {first} AND {name} < {end})"
    if column.kind == "string":
        return _text_test(condition, statement)
    if condition.test == "in":
        return _is_any(name, values, column.kind, statement)
    return f"{name} {_SIGNS[condition.test]} {statement.parameter(values[0], column.kind)}"


def _text_test(condition: Condition, statement: Statement) -> str:
    column = condition.column
    if column.key_column:
        return _key_test(condition, statement)
    if condition.test == "in" and not column.ignores_case:
        return _is_any(named(column.name), condition.values, "string", statement)
    text = folded_sql(named(column.name))
    sought = [folded_sql(statement.parameter(value, "string")) for value in condition.values]
    if condition.test == "in":
        return f"{text} IN ({', '.join(sought)})"
    return _TEXT_TESTS[condition.test].format(text, sought[0])


def _key_test(condition: Condition, statement: Statement) -> str:
    """A test of a column of keys, which its index answers unless it is for a part in the middle."""
    column = f"r.{condition.column.key_column}"
    keys = [folded(value) if condition.column.ignores_case else value for value in condition.values]
    if condition.test == "in":
        return _is_any(column, keys, "string", statement)
    if condition.test == "contains":
        return f"strpos({column}, {statement.parameter(keys[0], 'string')}) > 0"
    first = statement.parameter(keys[0], "string")
    last = statement.parameter(keys[0] + _LAST_CHARACTER, "string")
    return f"({column} >= {first} AND {column} < {last} AND starts_with({column}, {first}))"


def _is_any(column: str, values: Sequence[Any], kind: Kind, statement: Statement) -> str:
    if len(values) == 1:
        return f"{column} = {statement.parameter(values[0], kind)}"
    return f"{column} = ANY({statement.parameter(list(values), _OF_SEVERAL[kind])})"
