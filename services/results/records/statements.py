"""The statements that read records, as text. Pure.

A page is found in the order it is shown in, so that the first one costs no more than is on it, and every other one the same:
the planner is not left to sort what many conditions, of which it knows nothing, let through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from services.results.records.candidates import (
    candidates,
    has_words_sql,
    recheck,
    shares,
    walked_candidates,
    words_query,
)
from services.results.records.conditions import Statement, folded_sql, is_foreseen, named, test_of
from services.results.records.filters import Filters
from services.results.records.ordering import SORTED_CHARACTERS, Order, Position
from shared.contracts.datasets import Dataset
from shared.contracts.record_etag import etag_sql
from shared.contracts.record_json import MOMENT, record_json_sql

# How a CSV file has values, whatever the session's settings.
_IN_CSV = MappingProxyType({"datetime": MOMENT, "date": "to_char({}, 'YYYY-MM-DD')", "boolean": "{}::text"})

# Records with a value in the column that they are sorted by, those without one, or both.
Part = Literal["valued", "valueless", "whole"]


@dataclass(frozen=True)
class Listed:
    """Which records of a tenant, and in which order."""

    dataset: Dataset
    tenant: str
    filters: Filters
    order: Order


def page(
    listed: Listed, *, part: Part, after: Position | None, limit: int, by_words: bool = False
) -> Statement:
    """The first records behind `after`: of each its key, its place in the order, and itself as JSON text.

    Args:
        by_words: Whether the index of words gathers all that may match, rather than that records are walked along.
    """
    statement = Statement()
    tenant = statement.parameter(listed.tenant, "string")
    behind = _behind(listed.order, part, after, statement)
    sorting = _sorting(listed.order, part)
    if walks_words(listed):
        found = _by_words(listed, statement, tenant, behind, sorting, walking=not by_words)
    elif not by_words and is_walked(listed.order):
        found = _in_order(listed, statement, tenant, behind, sorting)
    else:
        found = f"{_found(listed, statement, tenant, behind)} ORDER BY {sorting}"
    statement.sql = f"""
        SELECT r.key, r._place AS place, {record_json_sql(listed.dataset, "r")} AS shown
        FROM (SELECT r.*, {_place(listed.order)} AS _place {found} LIMIT {limit:d}) r
        ORDER BY {_sorting(listed.order, part, place="r._place")}"""
    return statement


def is_walked(order: Order) -> bool:
    """Whether an index has records in that order, so that it can be walked along."""
    return order.column is None or order.column.is_indexed


def is_by_words(listed: Listed) -> bool:
    """Whether the index of words can narrow the list down."""
    return words_query(listed.dataset, listed.filters, "", Statement()) is not None


def walks_words(listed: Listed) -> bool:
    """Whether the words can be walked along, as they lie in the order of keys."""
    return listed.order.column is None and is_by_words(listed)


def walks_all(listed: Listed) -> bool:
    """Whether records are tested one after the other in the order of keys, with nothing else that an index could tell.

    The planner takes what tests them for as good as nothing: it would sort all that lie behind the page before.
    """
    conditions = listed.filters.conditions
    return listed.order.column is None and bool(conditions) and not any(map(is_foreseen, conditions))


def candidates_shares(listed: Listed) -> Statement:
    """What to have explained to know how many the candidates are (`candidates.shares`)."""
    statement = Statement()
    tenant = statement.parameter(listed.tenant, "string")
    statement.sql = f"EXPLAIN (FORMAT JSON) {shares(listed.dataset, listed.filters, tenant, statement)}"
    return statement


def count(listed: Listed) -> Statement:
    """What follows SELECT … for all records that match."""
    statement = Statement()
    statement.sql = _all(listed, statement)
    return statement


def one(dataset: Dataset, tenant: str, key: str) -> Statement:
    """A record as JSON text, and its entity tag."""
    statement = Statement()
    statement.sql = f"""
        SELECT {record_json_sql(dataset, "r")} AS shown, {etag_sql(dataset, "r")} AS etag FROM data.{dataset.table}_v1 r
        WHERE r.tenant = {statement.parameter(tenant, "string")} AND r.key = {statement.parameter(key, "string")}"""
    return statement


def lines(listed: Listed) -> Statement:
    """All records that match, each as JSON text."""
    return _exported(listed, record_json_sql(listed.dataset, "r"))


def cells(listed: Listed) -> Statement:
    """All records that match, with the declared fields as a CSV file has them."""
    columns = (
        f'{_IN_CSV.get(field.type, "{}").format(named(field.name))} AS "{field.name}"'
        for field in listed.dataset.fields
    )
    return _exported(listed, ", ".join(columns))


def _exported(listed: Listed, shown: str) -> Statement:
    statement = Statement()
    statement.sql = f"SELECT {shown} {_all(listed, statement)} ORDER BY {_sorting(listed.order, 'whole')}"
    return statement


def _all(listed: Listed, statement: Statement) -> str:
    return _found(listed, statement, statement.parameter(listed.tenant, "string"), ())


def _found(listed: Listed, statement: Statement, tenant: str, behind: Sequence[str]) -> str:
    """FROM and WHERE for the records that match, with their row as `r`."""
    gathered = candidates(listed.dataset, listed.filters, tenant, statement)
    return _found_among(gathered, listed, statement, tenant, behind)


def _found_among(
    gathered: str | None, listed: Listed, statement: Statement, tenant: str, behind: Sequence[str]
) -> str:
    """The same; `gathered` is a query for the keys of those that may match, as `candidates` has it, if there is one."""
    dataset, filters = listed.dataset, listed.filters
    tests = [
        f"r.tenant = {tenant}",
        *(test_of(condition, statement) for condition in filters.conditions),
        *behind,
    ]
    source = _view(listed)
    if gathered is not None:
        source = f"({gathered}) c JOIN {source} ON r.key = c.key"
        tests += recheck(dataset, filters, tenant, statement)
    return f"FROM {source} WHERE {' AND '.join(tests)}"


def _by_words(
    listed: Listed, statement: Statement, tenant: str, behind: Sequence[str], sorting: str, *, walking: bool
) -> str:
    """As `_found`, and ORDER BY the key: candidates come in that order, so that only those that are wanted are looked at."""
    what = (listed.dataset, listed.filters, tenant, statement)
    condition = " AND ".join(behind) or "true"
    if walking:
        gathered = walked_candidates(*what, behind=condition, sorting=sorting)
    else:
        # OFFSET keeps the sort where it is.
        gathered = f"""
            SELECT r.key, r.is_indexed FROM ({candidates(*what)}) r
            WHERE {condition} ORDER BY {sorting} OFFSET 0"""
    return f"{_found_among(gathered, listed, statement, tenant, ())} ORDER BY {sorting}"


def _in_order(listed: Listed, statement: Statement, tenant: str, behind: Sequence[str], sorting: str) -> str:
    """As `_found`, and ORDER BY: for an order that an index has.

    Conditions of which the planner knows nothing are tested outside, one record after the other: for fear of how few they
    let through, it would look at all records, and sort.
    """
    conditions = listed.filters.conditions
    inside = [test_of(condition, statement) for condition in conditions if is_foreseen(condition)]
    outside = [test_of(condition, statement) for condition in conditions if not is_foreseen(condition)]
    if listed.filters.search is not None:
        outside.append(has_words_sql(listed.dataset, listed.filters.search, tenant, statement))
    where = " AND ".join([f"r.tenant = {tenant}", *inside, *behind])
    source = f"FROM {_view(listed)} WHERE {where} ORDER BY {sorting}"
    # OFFSET keeps the conditions outside.
    return f"FROM (SELECT r.* {source} OFFSET 0) r WHERE {' AND '.join(outside)}" if outside else source


def _view(listed: Listed) -> str:
    return f"data.{listed.dataset.table}_v1 r"


def _behind(order: Order, part: Part, after: Position | None, statement: Statement) -> list[str]:
    """That records belong to the part, and come behind `after` in it."""
    tests = []
    if order.column and order.column.nullable and part != "whole":
        tests.append(f"{named(order.column.name)} IS {'NOT ' if part == 'valued' else ''}NULL")
    if after is None:
        return tests
    value, key = after
    sign = "<" if order.descending else ">"
    behind = statement.parameter(key, "string")
    if order.column is None or part == "valueless":
        return [*tests, f"r.key {sign} {behind}"]
    place = statement.parameter(value, order.column.kind)
    return [*tests, f"({_place(order)}, r.key) {sign} ({place}, {behind})"]


def _place(order: Order) -> str:
    """What records are sorted by, before their keys. It is of use only if there is a column."""
    column = order.column
    if column is None:
        return "NULL"
    if column.key_column:
        return f"r.{column.key_column}"
    if column.kind != "string":
        return named(column.name)
    return f'left({folded_sql(named(column.name))}, {SORTED_CHARACTERS}) COLLATE "C"'


def _sorting(order: Order, part: Part, place: str | None = None) -> str:
    direction = "DESC" if order.descending else "ASC"
    if order.column is None or part == "valueless":
        return f"r.key {direction}"
    # An index holds records without a value at its other end: what it is not needed for must not ask for it.
    last = " NULLS LAST" if order.column.nullable and part == "whole" else ""
    return f"{place or _place(order)} {direction}{last}, r.key {direction}"
