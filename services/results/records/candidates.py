"""The index of words as SQL: which records a search, or a filter on a text, may find (`shared.contracts.record_search`). Pure.

What is in the index is sure; what was written and is not indexed anew yet is looked at itself.
"""

import re
from collections.abc import Sequence

from services.results.records.conditions import Statement
from services.results.records.filters import Condition, Filters
from shared.contracts.datasets import Dataset
from shared.contracts.record_search import document_sql, query_sql, search_view, whole_words_sql

# Letters and digits that a text must have for the index to narrow it down: fewer begin too many words.
INDEXED_CHARACTERS = 3

GLANCED_CHARACTERS = 250  # a run of more than 500 is several words, which may stand apart

SHORT_END = 3  # characters of a last word that very many words may begin with

MIN_FREQUENT_SHARE = 0.0055  # of words that are not among the most frequent ones, the planner takes 0.005
WALKED_FASTER = 30  # a record that is walked past (0.3 µs) is so much cheaper than one that is gathered

_RUN = re.compile(r"[^\W_]+")  # letters and digits: a word, or several


def words_query(
    dataset: Dataset, filters: Filters, tenant: str, statement: Statement, *, gathering: bool = False
) -> str | None:
    """A tsquery for the words that every record has that matches; None if nothing can be said.

    Args:
        dataset: Whose records.
        filters: What they must pass.
        tenant: SQL.
        statement: That has the parameters.
        gathering: Leave out a short last word behind others: the index would gather all words that begin with it, and
            may pass by most of them otherwise. What is found must then be looked at once more.
    """
    queries = []
    for condition in filters.conditions:
        if _has_its_words_indexed(dataset, condition):
            whole = condition.test == "in"
            texts = [_of_text(text, tenant, statement, whole, gathering) for text in condition.values]
            queries.append(" || ".join(texts))
    if filters.search is not None:
        queries.append(_of_text(filters.search, tenant, statement, False, gathering))
    return " && ".join(f"({query})" for query in queries) or None


def _of_text(text: str, tenant: str, statement: Statement, whole: bool, gathering: bool) -> str:
    before = _before_short_end(text) if gathering and not whole else None
    parameter = statement.parameter(text if before is None else before, "string")
    return whole_words_sql(tenant, parameter) if whole or before is not None else query_sql(tenant, parameter)


def _before_short_end(text: str) -> str | None:
    """What stands before the last word, if that is short and not the only one. None also where words are hard to tell."""
    runs = list(_RUN.finditer(text)) if text.isascii() else []
    if len(runs) < 2 or len(runs[-1][0]) > SHORT_END:
        return None
    return text[: runs[-1].start()]


def _has_its_words_indexed(dataset: Dataset, condition: Condition) -> bool:
    """Whether a text that passes begins with the words asked for, and the index knows them."""
    return (
        condition.column.name in dataset.search
        and not condition.column.key_column
        and condition.test in {"in", "prefix"}
        and all(sum(map(str.isalnum, text)) >= INDEXED_CHARACTERS for text in condition.values)
    )


def candidates(dataset: Dataset, filters: Filters, tenant: str, statement: Statement) -> str | None:
    """A query for the keys of all records that may match; `is_indexed`: the index of words is sure of it.

    None if nothing is known of the words of those that match.
    """
    query = words_query(dataset, filters, tenant, statement, gathering=True)
    if query is None:
        return None
    sure = ""
    if filters.search is not None and _before_short_end(filters.search) is not None:
        sure = f"AND {_matches('s.words', _of_text(filters.search, tenant, statement, False, False))}"
    return f"""
        WITH unindexed AS MATERIALIZED ({_unindexed(dataset, tenant)})
        SELECT s.key, true AS is_indexed FROM {search_view(dataset)} s
        WHERE s.words @@ ({query}) {sure} AND s.key NOT IN (SELECT key FROM unindexed)
        UNION ALL
        SELECT key, false FROM unindexed"""


def walked_candidates(
    dataset: Dataset, filters: Filters, tenant: str, statement: Statement, *, behind: str, sorting: str
) -> str | None:
    """The same in the order of `sorting`, one after the other: the words are walked along, which lie in the order of keys.

    Args:
        dataset: Whose records.
        filters: What they must pass.
        tenant: SQL.
        statement: That has the parameters.
        behind: A condition on `r.key`, as SQL.
        sorting: By `r.key`, as SQL.
    """
    query = words_query(dataset, filters, tenant, statement)
    if query is None:
        return None
    return f"""
        WITH unindexed AS MATERIALIZED ({_unindexed(dataset, tenant)})
        (SELECT r.key, true AS is_indexed FROM {search_view(dataset)} r
        WHERE {_matches("r.words", query)} AND r.key NOT IN (SELECT key FROM unindexed) AND {behind} ORDER BY {sorting})
        UNION ALL
        (SELECT r.key, false FROM unindexed r WHERE {behind} ORDER BY {sorting})
        ORDER BY {sorting.replace("r.", "")}"""


def _matches(words: str, query: str) -> str:
    """What the operator @@ says, by its function, which no index answers."""
    return f"ts_match_vq({words}, ({query}))"


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


def shares(dataset: Dataset, filters: Filters, tenant: str, statement: Statement) -> str:
    """A query whose plan tells how many records there are, of how many the planner takes the words to be those asked for, and
    of how many without a short last word.
    """
    everything = f"SELECT s.key FROM {search_view(dataset)} s"
    queries = [words_query(dataset, filters, tenant, statement, gathering=short) for short in (False, True)]
    found = [f"{everything} WHERE s.words @@ ({query})" for query in queries]
    return " UNION ALL ".join([everything, *found])


def lone_words(dataset: Dataset, filters: Filters) -> int:
    """How many texts of a single word are sought: if it is not among the most frequent, the planner has to guess."""
    texts = [] if filters.search is None else [filters.search]
    for condition in filters.conditions:
        if _has_its_words_indexed(dataset, condition):
            texts += condition.values
    return sum(len(_RUN.findall(text)) < 2 for text in texts)


def is_frequent(*, records: float, found: float, gathered: float, wanted: int, lone: int) -> bool:
    """Whether a walk along the records meets the wanted ones sooner than the index of words has gathered all there are.

    Args:
        records: Of the tenant, as the planner takes it.
        found: Of these, how many have the words.
        gathered: How many have them without a short last word, which often but ends what the others say (Coat H, of Coat
            Hook): the planner, which multiplies, then finds too few by far. The truth is taken to be between.
        wanted: How many of them are wanted.
        lone: How many texts of a single word are sought.
    """
    guessed = MIN_FREQUENT_SHARE * records * lone
    return found > guessed and WALKED_FASTER * found * gathered > wanted * records


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
