"""Files and models that tests of the processor share."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from services.processor.pipeline import Pipeline
from shared.contracts.dialect import Dialect
from tests.processor.conftest import Mill, command

COUNTS = ("inserted", "updated", "unchanged", "duplicate", "rejected")

# A slice as small as these has a record or two.
SLICES = (1, 20, 45, 90, 1 << 20)


def on_real_servers(most: int) -> settings:
    """Settings of a property whose every example does real imports; `most` examples."""
    return settings(max_examples=most)


def written(header: Sequence[str], rows: Iterable[Sequence[Any]], dialect: Dialect | None = None) -> bytes:
    """A file; None is an empty cell."""
    dialect = dialect or Dialect()
    text = io.StringIO()
    writer = csv.writer(text, delimiter=dialect.delimiter, quotechar=dialect.quote, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode(dialect.encoding)


def balance(work: Any) -> dict[str, int]:
    """The five counts, after a look that they add up to what was processed."""
    counts = {name: work[f"rows_{name}"] for name in COUNTS}
    assert sum(counts.values()) == work["rows_processed"] - work["rows_staged"]
    return counts


async def slice_by_slice(mill: Mill, import_id: UUID, pipeline: Pipeline) -> AsyncIterator[range]:
    """Do an import to its end; tells after each slice which records it has read, by their numbers."""
    work = await mill.work(import_id)
    while work["status"] == "processing":
        await pipeline.process(command(import_id, work["commanded"]))
        before, work = work, await mill.work(import_id)
        yield range(before["rows_processed"] + 1, work["rows_processed"] + 1)


# Files of every dataset with all that may become of a record: good ones, faulty ones, keys that come again.
_KEYS = st.sampled_from(["a", "A", "b", "c", ""])
_CODES = st.sampled_from(["x", "X", "y", "z"])
_DAYS = st.sampled_from(["2024-01-02", "2024-02-03 04:05:06", "soon"])
_PRICES = st.sampled_from(["1.50", "0.1", "x", None])
MIXED: dict[str, tuple[tuple[str, ...], st.SearchStrategy[tuple[Any, ...]]]] = {
    "products": (("sku", "name", "price"), st.tuples(_KEYS, st.sampled_from(["n", "m", ""]), _PRICES)),
    "books": (
        ("title", "author", "isbn", "publication_year"),
        st.tuples(
            st.sampled_from(["t", "u"]),
            st.just("Author"),
            st.sampled_from(["9783522177504", "3522177509", "9780306406157", "080442957X", "123"]),
            st.sampled_from(["2000", "x"]),
        ),
    ),
    "sales": (
        ("transaction_id", "sold_at", "sku", "customer_id", "quantity", "unit_price"),
        st.tuples(_KEYS, _DAYS, _CODES, _CODES, st.sampled_from(["1", "-2", "0"]), _PRICES),
    ),
    "quotes": (
        ("quote_number", "line_number", "stock_code", "quantity", "unit_price"),
        st.tuples(_KEYS, st.sampled_from(["1", "2", "0"]), _CODES, st.sampled_from([None, "3"]), _PRICES),
    ),
    "stock-codes": (("stock_code",), st.tuples(_KEYS)),
}
# What each dataset's import writes; the columns that say which import it was, and when, differ for the same file.
TABLES = {
    "products": ("products",),
    "books": ("books",),
    "sales": ("sales", "customers", "products"),
    "quotes": ("quotes", "quote_totals"),
    "stock-codes": ("stock_codes",),
}
_OF_THE_RUN = {"tenant", "key", "import_id", "created_at", "updated_at", "file_uploaded"}


async def contents_of(mill: Mill, dataset: str, tenant: str) -> list[list[dict[str, Any]]]:
    """The rows of all tables that an import of `dataset` writes, but for what tells when and by which import."""
    return [
        [
            {name: value for name, value in row.items() if name not in _OF_THE_RUN}
            for row in sorted(await mill.records(table, tenant=tenant), key=_place)
        ]
        for table in TABLES[dataset]
    ]


def _place(row: dict[str, Any]) -> tuple[str, datetime]:
    """Results of a look-up have the import's id in their key, which says nothing of their order."""
    return row["key"].removeprefix(str(row["import_id"])), row["created_at"]


async def errors_of(mill: Mill, import_id: UUID) -> list[tuple[Any, ...]]:
    """Row errors, the import's own id taken out."""
    return [
        tuple(error[name] for name in error if name not in {"tenant", "import_id"})
        for error in await mill.errors(import_id)
    ]
