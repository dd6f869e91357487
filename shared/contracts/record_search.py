"""How records are found by words: the SQL that the processor publishes for it, and how to use it. Pure.

**Words** are maximal runs of letters and digits, compared ignoring case (Unicode case folding), diacritics (`é` is `e`) and
compatibility forms (NFKD); all else separates them, so `WBH-001` is the words `wbh` and `001`. A Chinese or Japanese
character is a word by itself. A run of more than 500 characters is several words. One SQL function makes the words of
records and of what is sought, so the two agree by construction:

    data.words_of(tenant, content)  tsvector; each word with a mark of its tenant before it, so that an index that all
                                    tenants share holds each one's words by themselves
    data.query_of(tenant, sought)   tsquery: every word of `sought` must occur; the last one as a word or the beginning of
                                    one, as somebody may still be typing it. Matches nothing if there is no word in it.

Both are immutable: with parameters they are constants to a planner that plans for these values (`plan_cache_mode`).

**Views**, for each dataset that declares `search`, and one for all:

    data.<table>_search_v1  key, words: what is indexed (GIN on words; primary key, in the order of keys); kept up behind
                            what happens to records, so rows may be old, missing, or of records that are gone
    data.unsearched_v1      tenant, dataset, keys (text[], up to some 5,000): records that were written and are not indexed
                            anew yet. No rows nearly always; all that was just loaded behind a large import

In any one snapshot, a record whose key is in no row of `unsearched_v1` has exactly its words in the search view. So this is
exact, and needs to make the words only of the few records that the index does not know yet:

    records whose key matches in the search view and is none of those in `unsearched_v1`
    and records whose key is in `unsearched_v1` and whose `document_sql` matches `query_sql`

In a transaction of one tenant (`shared.platform.tenancy`) both views show that tenant's rows only; without one, the search
view shows none. It is no `security_invoker` view, and it has no column `tenant`: under row-level security PostgreSQL uses an
index for `@@`, which is not leakproof, only if no condition on the same table comes from a policy, be it through an equality.
"""

import unicodedata

from shared.contracts.datasets import Dataset


def document_sql(dataset: Dataset, alias: str) -> str:
    """The words of a record as they are now; `alias` is that of the dataset's table or view.

    Raises:
        ValueError: the dataset declares no `search`.
    """
    if not dataset.search:
        raise ValueError(f"records of {dataset.name!r} are not found by words: it declares no search")
    columns = ", ".join(f"{alias}.{name}" for name in dataset.search)
    return f"data.words_of({alias}.tenant, concat_ws(' ', {columns}))"


def query_sql(tenant: str, sought: str) -> str:
    """What `words @@ …` is to match; `tenant` and `sought` are SQL, such as the parameters `:tenant` and `:search`."""
    return f"data.query_of({tenant}, {sought})"


def whole_words_sql(tenant: str, sought: str) -> str:
    """As `query_sql`, but the last word must occur as it is: for a text that is known to its end."""
    return f"CAST(replace(CAST({query_sql(tenant, sought)} AS text), ':*', '') AS tsquery)"


def search_view(dataset: Dataset) -> str:
    """The view of the indexed words of a dataset's records."""
    return f"data.{dataset.table}_search_v1"


def has_words(sought: str) -> bool:
    """Whether there is anything to search for."""
    return any(map(str.isalnum, unicodedata.normalize("NFKD", sought)))
