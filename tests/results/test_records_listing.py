"""Lists of records against a model in Python: any filters, order and page size, with words indexed, old, missing or gone."""

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.records import queries
from services.results.records.models import page_model
from services.results.records.ordering import SORTED_CHARACTERS
from shared.contracts.datasets import datasets
from shared.contracts.record_keys import folded
from shared.platform.querying import tenant_querying
from tests.results.given import NOON, Database

PRODUCTS = datasets()["products"]
IMPORTS = [UUID(int=1), UUID(int=2), None]
TIMES = [NOON, NOON + timedelta(microseconds=1), NOON - timedelta(days=1), NOON.replace(hour=0)]
PRICES = [None, Decimal("0.5"), Decimal("0.50"), Decimal(7), Decimal("100.25")]
COUNTS = [None, -2, 0, 7]
# Case that folds to more letters, accents that search passes over, what LIKE and quoting would stumble over.
TEXTS = st.lists(
    st.sampled_from(
        ["a", "A", "b", "ab", "Ab", "é", "É", "ß", "SS", "%", "_", "'", '"', ",", "\\", "-", " ", "7", "漢"]
    ),
    min_size=1,
    max_size=5,
).map("".join)
NAMES = TEXTS | st.just("x" * SORTED_CHARACTERS + "a") | st.just("x" * SORTED_CHARACTERS + "B")

Row = dict[str, Any]
Filter = tuple[str, str, Callable[[Row], bool]]

products = st.lists(
    st.fixed_dictionaries(
        {
            "sku": TEXTS,
            "name": NAMES,
            "description": st.none() | TEXTS,
            "price": st.sampled_from(PRICES),
            "stock_quantity": st.sampled_from(COUNTS),
            "active": st.booleans(),
            "import_id": st.sampled_from(IMPORTS),
            "created_at": st.sampled_from(TIMES),
            "updated_at": st.sampled_from(TIMES),
            "indexed": st.sampled_from(["indexed", "old", "missing"]),
        }
    ),
    max_size=10,
    unique_by=lambda row: folded(row["sku"]),
)


def words(text: str) -> set[str]:
    plain = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text).casefold())
    return set(re.findall(r"漢|[^\W_漢]+", plain))


def content(row: Row) -> str:
    return " ".join(row[name] for name in ("sku", "name", "description") if row[name] is not None)


def is_found(row: Row, sought: str) -> bool:
    *whole, last = re.findall(
        r"漢|[^\W_漢]+", re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", sought).casefold())
    )
    there = words(content(row))
    return set(whole) <= there and any(word.startswith(last) for word in there)


def text_filter(name: str, fold: Callable[[str], str]) -> st.SearchStrategy[Filter]:
    def value(row: Row) -> str | None:
        return None if row[name] is None else fold(row[name])

    def test(matches: Callable[[str], bool]) -> Callable[[Row], bool]:
        return lambda row: (text := value(row)) is not None and matches(text)

    return st.one_of(
        TEXTS.map(lambda sought: (name, sought, test(lambda text: text == fold(sought)))),
        TEXTS.map(
            lambda sought: (f"{name}__prefix", sought, test(lambda text: text.startswith(fold(sought))))
        ),
        TEXTS.map(lambda sought: (f"{name}__contains", sought, test(lambda text: fold(sought) in text))),
        st.lists(TEXTS, min_size=1, max_size=3).map(
            lambda several: (
                f"{name}__in",
                ",".join('"' + one.replace('"', '""') + '"' for one in several),
                test(lambda text: text in {fold(one) for one in several}),
            )
        ),
    )


def compared(name: str, values: list[Any]) -> st.SearchStrategy[Filter]:
    signs: dict[str, Callable[[Any, Any], bool]] = {
        "": lambda a, b: a == b,
        "__gte": lambda a, b: a >= b,
        "__gt": lambda a, b: a > b,
        "__lte": lambda a, b: a <= b,
        "__lt": lambda a, b: a < b,
    }

    def made(sign: str, value: Any) -> Filter:
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        return f"{name}{sign}", text, lambda row: row[name] is not None and signs[sign](row[name], value)

    there = [value for value in values if value is not None]
    return st.builds(made, st.sampled_from(list(signs)), st.sampled_from(there))


def is_null(name: str) -> st.SearchStrategy[Filter]:
    return st.booleans().map(
        lambda null: (f"{name}__isnull", str(null).lower(), lambda row: (row[name] is None) is null)
    )


def of_day(sign: str, row: Row) -> bool:
    day, this = row["created_at"].date(), NOON.date()
    return {
        "": day == this,
        "__gte": day >= this,
        "__gt": day > this,
        "__lte": day <= this,
        "__lt": day < this,
    }[sign]


filters = st.lists(
    st.one_of(
        text_filter("sku", folded),
        text_filter("name", str.casefold),
        text_filter("description", str.casefold),
        compared("price", PRICES),
        compared("stock_quantity", COUNTS),
        compared("updated_at", TIMES),
        is_null("price"),
        is_null("description"),
        is_null("import_id"),
        st.booleans().map(lambda active: ("active", str(active), lambda row: row["active"] is active)),
        st.just(("import_id", str(IMPORTS[0]), lambda row: row["import_id"] == IMPORTS[0])),
        st.sampled_from(["", "__gte", "__gt", "__lte", "__lt"]).map(
            lambda sign: (f"created_at{sign}", NOON.date().isoformat(), lambda row: of_day(sign, row))
        ),
        TEXTS.filter(words).map(lambda sought: ("search", sought, lambda row: is_found(row, sought))),
    ),
    max_size=3,
    unique_by=lambda found: found[0],
)
sorts = st.none() | st.builds(
    "{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(
        ["id", "sku", "name", "description", "price", "stock_quantity", "active", "import_id", "updated_at"]
    ),
)


def in_order(rows: list[Row], sort: str | None) -> list[Row]:
    name = (sort or "id").removeprefix("-")
    descending = (sort or "").startswith("-")

    def place(row: Row) -> tuple[Any, str]:
        value = None if name in {"id", "sku"} else row[name]
        return (value.casefold()[:SORTED_CHARACTERS] if isinstance(value, str) else value), folded(row["sku"])

    valued = [row for row in rows if name in {"id", "sku"} or row[name] is not None]
    valueless = [row for row in rows if row not in valued]
    by_key = name in {"id", "sku"}
    return [
        *sorted(valued, key=lambda row: folded(row["sku"]) if by_key else place(row), reverse=descending),
        *sorted(valueless, key=lambda row: folded(row["sku"]), reverse=descending),
    ]


async def store(database: Database, rows: list[Row]) -> None:
    connection = database.connection
    await connection.execute("TRUNCATE data.products, data.products_search, processor.unsearched")
    for row in rows:
        state, key = row["indexed"], folded(row["sku"])
        await database.product(
            row["sku"],
            **{"key": key} | {name: value for name, value in row.items() if name not in {"sku", "indexed"}},
        )
        if state != "indexed":
            await connection.execute(
                "INSERT INTO processor.unsearched (tenant, dataset, keys) VALUES ('acme', 'products', ARRAY[$1, $1])",
                key,
            )
        if state != "missing":
            await index(database, key, content(row) if state == "indexed" else "a ab ss 7 é")
    await index(database, "gone", "a ab ss 7 é")
    await database.product("ab", tenant="other", name="ab", description="é 7")


async def index(database: Database, key: str, text: str) -> None:
    await database.connection.execute(
        "INSERT INTO data.products_search (tenant, key, words) VALUES ('acme', $1, data.words_of('acme', $2))",
        key,
        text,
    )


async def walked(
    engine: AsyncEngine, query: list[tuple[str, str]], limit: int
) -> tuple[list[Row], list[int | None]]:
    """All pages, one after the other, and the totals that they tell."""
    items: list[Row] = []
    totals = []
    cursor = None
    while True:
        listed = queries.listed_of(PRODUCTS, "acme", query)
        asked = queries.asked_page(listed, query, cursor=cursor, limit=limit)
        async with tenant_querying(engine, "acme", seconds=10) as connection:
            text = await queries.list_records(connection, asked, total="exact")
        page_model(PRODUCTS).model_validate_json(text)
        page = json.loads(text)
        assert len(page["items"]) <= limit
        items += page["items"]
        totals.append(page["total"])
        if (cursor := page["next_cursor"]) is None:
            return items, totals
        assert len(page["items"]) == limit


@pytest.mark.parametrize("frequent", [True, False], ids=["walking", "by words"])
@settings(max_examples=40)
@given(rows=products, chosen=filters, sort=sorts, limit=st.integers(1, 4))
async def test_pages_are_what_a_model_says(
    engine: AsyncEngine,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    frequent: bool,
    rows: list[Row],
    chosen: list[Filter],
    sort: str | None,
    limit: int,
) -> None:
    # Which way to go is guessed from statistics; either must be right.
    monkeypatch.setattr(queries, "is_frequent", lambda **_: frequent)
    await store(database, rows)
    query = [(name, value) for name, value, _ in chosen] + ([("sort", sort)] if sort else [])
    expected = in_order([row for row in rows if all(test(row) for _, _, test in chosen)], sort)
    items, totals = await walked(engine, query, limit)
    assert [item["id"] for item in items] == [folded(row["sku"]) for row in expected]
    assert set(totals) == {len(expected)}
    for item, row in zip(items, expected, strict=True):
        assert item["price"] == (None if row["price"] is None else str(row["price"]))
        assert datetime.fromisoformat(item["created_at"]) == row["created_at"].astimezone(UTC)
