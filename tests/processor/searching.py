"""Searches by the contract, the model of one, and steps of indexing, for tests."""

import re
import unicodedata

from sqlalchemy import Text, bindparam, text

from services.processor.searching.indexing import index_some, waiting
from shared.contracts.datasets import datasets
from shared.contracts.record_search import document_sql, query_sql, search_view
from shared.platform.tenancy import tenant_reading

PRODUCTS = datasets()["products"]

FILES = {
    "products": ("sku,name\nK-1,Oak desk\n", "oak"),
    "books": ("title,author,isbn,publication_year\nMomo,Michael Ende,9783522177504,1973\n", "ende momo"),
    "sales": ("transaction_id,date,sku,quantity,total,customer_name\nT1,2024-01-02,K-9,1,2.50,Ada Lovelace\n", "lovelace"),
    "parts": ("stock_code,manufacturer\nBRG-6204,Nordwerk\n", "brg-6204"),
    "quotes": ("quote_number,line_number,stock_code,total_price,customer\nQ1,1,x,1,Hafenbau AG\n", "hafenbau"),
    "stock-codes": ("stock_code\nBRG-6204\n", "6204"),
}  # fmt: skip

# How a search is made of the contract: the index for what it knows, the records themselves for what is marked.
SEARCH = """
    WITH unsearched AS MATERIALIZED (
        SELECT unnest(keys) AS key FROM data.unsearched_v1 WHERE tenant = :tenant AND dataset = '{name}'
    )
    SELECT r.key FROM data.{table}_v1 r JOIN {view} s ON s.key = r.key
    WHERE r.tenant = :tenant AND s.words @@ {query} AND r.key NOT IN (SELECT key FROM unsearched)
    UNION
    SELECT r.key FROM data.{table}_v1 r JOIN unsearched u ON u.key = r.key
    WHERE r.tenant = :tenant AND {document} @@ {query}
"""


def search_sql(dataset):
    return text(
        SEARCH.format(
            name=dataset.name,
            table=dataset.table,
            view=search_view(dataset),
            query=query_sql(":tenant", ":sought"),
            document=document_sql(dataset, "r"),
        )
    ).bindparams(bindparam("tenant", type_=Text), bindparam("sought", type_=Text))


async def found(readers, sought, *, dataset=PRODUCTS, tenant="acme"):
    async with tenant_reading(readers, tenant) as connection:
        return set(await connection.scalars(search_sql(dataset), {"tenant": tenant, "sought": sought}))


async def index_all(engine):
    """Steps until nothing is marked."""
    while True:
        async with engine.begin() as connection:
            parts = await waiting(connection)
        if not parts:
            return
        for part in parts:
            async with engine.begin() as connection:
                assert await index_some(connection, part)


async def indexed(mill, table="products", tenant="acme"):
    """Keys in the table of words."""
    rows = await mill.database.fetch(f"SELECT key FROM data.{table}_search WHERE tenant = $1", tenant)
    return {row["key"] for row in rows}


CJK = re.compile("([\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


def words_in(content):
    """The model of `data.words_of`, for letters that every version of Unicode in use has."""
    folded = re.sub("[\u0300-\u036f]+", "", unicodedata.normalize("NFKD", content).casefold())
    runs = re.findall(r"[^\W_]+", CJK.sub(r" \1 ", folded))
    return [run[at : at + 500] for run in runs for at in range(0, len(run), 500)]


def finds(sought, content):
    """The model of a search."""
    *whole, last = words_in(sought) or [None]
    words = set(words_in(content))
    return last is not None and words.issuperset(whole) and any(word.startswith(last) for word in words)
