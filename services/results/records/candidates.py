"""The index of words as SQL: which records a search, or a filter on a text, may find (`shared.contracts.record_search`). Pure.

What is in the index is sure; what was written and is not indexed anew yet is looked at itself.
"""

import re
from collections.abc import Sequence

from services.results.records.conditions import Statement
from services.results.records.filters import Condition, Filters
from shared.contracts.datasets import Dataset
from shared.contracts.record_search import document_sql, query_sql, search_view

# Letters and digits that a text must have for the index to narrow it down: fewer begin too many words.
INDEXED_CHARACTERS = 3

GLANCED_CHARACTERS = 250  # a run of more than 500 is several words, which may stand apart

MIN_FREQUENT_SHARE = 0.0075  # of words that are not among the most frequent ones, the planner takes 0.005


def words_query(dataset: Dataset, filters: Filters, tenant: str, statement: Statement) -> str | None:
    """A tsquery for the words that every record has that matches; None if nothing can be said. `tenant` is SQL."""
    queries = [
        " || ".join(query_sql(tenant, statement.parameter(text, "string")) for text in condition.values)
        for condition in filters.conditions
        if _has_its_words_indexed(dataset, condition)
    ]
    if filters.search is not None:
        queries.append(query_sql(tenant, statement.parameter(filters.search, "string")))
    return " && ".join(f"({query})" for query in queries) or None


def _has_its_words_indexed(dataset: Dataset, condition: Condition) -> bool:
    """Whether a text that passes begins with the words asked for, and the index knows them."""
    return (
        condition.column.name in dataset.search
        and not condition.column.key_column
        and condition.test in {"in", "prefix"}
        and all(sum(map(str.isalnum, text)) >= INDEXED_CHARACTERS for text in condition.values)
    )


def candidates(dataset: Dataset, query: str, tenant: str) -> str:
    """A query for the keys that may be those of records that match; `is_indexed`: the index of words is sure of it."""
    return f"""
        WITH unindexed AS MATERIALIZED ({_unindexed(dataset, tenant)})
        SELECT s.key, true AS is_indexed FROM {search_view(dataset)} s
        WHERE s.words @@ ({query}) AND s.key NOT IN (SELECT key FROM unindexed)
        UNION ALL
        SELECT key, false FROM unindexed"""


def _unindexed(dataset: Dataset, tenant: str) -> str:
    """A query for the keys of records that are to be looked at themselves."""
    return f"""
        SELECT DISTINCT unnest(u.keys) COLLATE "C" AS key FROM data.unsearched_v1 u
        WHERE u.tenant = {tenant} AND u.dataset = '{dataset.name}'"""


def has_words_sql(dataset: Dataset, sought: str, tenant: str, statement: Statement) -> str:
    """That the record `r` has the words sought, one record after the other (an EXISTS would gather all that have them)."""
    query = query_sql(tenant, statement.parameter(sought, "string"))
    return f"""
        CASE WHEN r.key IN ({_unindexed(dataset, tenant)}) THEN {_looked_at(dataset, sought, tenant, statement)}
        ELSE (SELECT s.words @@ {query} FROM {search_view(dataset)} s WHERE s.key = r.key) END"""


def share(dataset: Dataset, query: str) -> str:
    """A query whose plan tells how many records there are, and how many of these the planner takes `query` to find."""
    view = search_view(dataset)
    return f"SELECT s.key FROM {view} s UNION ALL SELECT s.key FROM {view} s WHERE s.words @@ ({query})"


def is_frequent(*, records: float, found: float, wanted: int) -> bool:
    """Whether a walk along the records meets the wanted ones sooner than the index of words has gathered all there are.

    Args:
        records: Of the tenant, as the planner takes it.
        found: Of these, how many have the words.
        wanted: How many of them are wanted.
    """
    return found > MIN_FREQUENT_SHARE * records and found**2 > wanted * records


def recheck(dataset: Dataset, filters: Filters, tenant: str, statement: Statement) -> Sequence[str]:
    """What a candidate `c` must pass beside the conditions, which are tested on every one."""
    if filters.search is None:
        return ()
    return (f"(c.is_indexed OR ({_looked_at(dataset, filters.search, tenant, statement)}))",)


def _looked_at(dataset: Dataset, sought: str, tenant: str, statement: Statement) -> str:
    query = query_sql(tenant, statement.parameter(sought, "string"))
    return " AND ".join([*_glance(dataset, sought, statement), f"{document_sql(dataset, 'r')} @@ {query}"])


def _glance(dataset: Dataset, sought: str, statement: Statement) -> Sequence[str]:
    """Spares most records the making of their words, 20 times as costly: in ASCII, a word is there letter by letter."""
    if not sought.isascii():
        return ()
    content = f"concat_ws(' ', {', '.join(f'r.{name}' for name in dataset.search)})"
    words = [run[:GLANCED_CHARACTERS] for run in re.findall("[a-z0-9]+", sought.lower())]
    are_there = " AND ".join(
        f'strpos(lower({content} COLLATE "C"), {statement.parameter(word, "string")}) > 0' for word in words
    )
    return (f"(octet_length({content}) <> length({content}) OR ({are_there}))",)
