from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.datasets import datasets
from shared.contracts.problems import Unavailable
from shared.platform.querying import tenant_querying
from tests.results.conftest import Results
from tests.results.given import Database, headers, parsed


async def test_a_record_has_its_datasets_fields(results: Results, database: Database) -> None:
    await database.product("WBH-001", description="Over-ear")
    (item,) = (await results.get("/records/products")).json()["items"]
    assert item["id"] == "wbh-001"
    assert (item["sku"], item["name"], item["description"]) == ("WBH-001", "Product WBH-001", "Over-ear")
    assert item["active"] is True
    assert item["import_id"] is None
    assert {"row_number", "created_at", "updated_at"} < set(item)
    assert not {"tenant", "key"} & set(item)


async def test_each_declared_dataset_has_records(results: Results, database: Database) -> None:
    await database.book("9783522177504")
    book = (await results.get("/records/books/9783522177504")).json()
    assert (book["id"], book["publication_year"], book["row_number"]) == ("9783522177504", 1973, 7)


@pytest.mark.parametrize("sku", ["a/b", "ü ?#&", "100%", "x" * 255])
async def test_a_record_by_its_id_whatever_it_holds(results: Results, database: Database, sku: str) -> None:
    await database.product(sku)
    answer = await results.get(f"/records/products/{quote(sku, safe='')}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["sku"] == sku


async def test_another_tenants_record_is_not_there(results: Results, database: Database) -> None:
    await database.product("A1", tenant="other")
    answer = await results.get("/records/products/a1")
    assert (answer.status_code, answer.json()["code"]) == (404, "record_not_found")
    assert (await results.get("/records/products")).json()["items"] == []


async def test_pages_walk_every_record_once_while_more_arrive(results: Results, database: Database) -> None:
    there = [f"k{number:02}" for number in range(0, 40, 2)] + ["ä", "Z", "🙂"]
    for sku in there:
        await database.product(sku)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await results.get("/records/products", limit=3, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        await database.product(f"k{len(seen) * 2 + 1:02}x")
        await database.product(f"a{len(seen):02}")
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == len(set(seen))
    assert {sku.lower() for sku in there} <= set(seen)
    assert seen == sorted(seen, key=str.encode)


@pytest.mark.parametrize("path", ["/records/nothing", "/records/nothing/1", "/datasets/nothing"])
async def test_an_unknown_dataset_lists_those_there_are(results: Results, path: str) -> None:
    answer = await results.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")
    assert {"books", "products"} <= set(answer.json()["datasets"])


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/records/products", {"cursor": "nonsense"}, "cursor_invalid"),
        ("/records/products", {"limit": 1000}, "request_invalid"),
        ("/records/products/a%00b", {}, "request_invalid"),
    ],
)
async def test_bad_input_is_a_problem(results: Results, path: str, params: dict[str, Any], code: str) -> None:
    answer = await results.get(path, **params)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_cursor_of_another_dataset_is_refused(results: Results, database: Database) -> None:
    for sku in ("A", "B"):
        await database.product(sku)
    cursor = (await results.get("/records/products", limit=1)).json()["next_cursor"]
    assert (await results.get("/records/books", cursor=cursor)).json()["code"] == "cursor_invalid"


async def test_records_need_their_own_scope(results: Results) -> None:
    imports_only = headers(results.secret, "acme", "imports:read")
    answer = await results.client.get("/api/v1/records/products", headers=imports_only)
    assert answer.status_code == 403


async def test_numbers_are_exact_and_times_have_an_offset(results: Results, database: Database) -> None:
    await database.connection.execute("""
        INSERT INTO data.sales (tenant, key, transaction_id, sold_at, sku, sku_key, quantity, unit_price, total_amount)
        VALUES ('acme', 't-1', 'T-1', '2026-03-01 12:00+02', 'A', 'a', -3, 0.10, 12345678901234567890.10)
    """)
    sale = (await results.get("/records/sales/t-1")).json()
    assert (sale["unit_price"], sale["total_amount"]) == ("0.10", "12345678901234567890.10")
    assert (sale["quantity"], sale["sold_at"]) == (-3, "2026-03-01T10:00:00Z")


async def test_datasets_are_shown_as_declared(results: Results) -> None:
    declared = (await results.get("/datasets")).json()["items"]
    assert {"books", "products"} <= {dataset["name"] for dataset in declared}
    books = (await results.get("/datasets/books")).json()
    assert (books["primaryKey"], books["onDuplicate"]) == (["isbn"], "reject")
    year = next(field for field in books["fields"] if field["name"] == "publication_year")
    assert year["constraints"].items() >= {"required": True, "minimum": 1000, "maximum": "next-year"}.items()


async def test_a_template_has_the_header_and_one_record(results: Results) -> None:
    answer = await results.get("/datasets/products/template.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    header, example = parsed(answer.text)
    assert header[:3] == ["sku", "name", "description"]
    assert "active" not in header  # files never bring it
    assert example[:3] == ["WBH-001", "Wireless headphones", "Over-ear, noise cancelling"]


async def test_the_datasets_need_a_token_of_whatever_scope(results: Results) -> None:
    assert (await results.client.get("/api/v1/datasets")).status_code == 401
    narrow = headers(results.secret, "acme", "webhooks:admin")
    assert (await results.client.get("/api/v1/datasets", headers=narrow)).status_code == 200


async def test_openapi_describes_every_path(results: Results) -> None:
    paths = (await results.client.get("/openapi.json")).json()["paths"]
    for path, methods in paths.items():
        for method in methods.values():
            known = {"imports", "records", "datasets", "session", "system"}
            assert path.startswith("/health") or method["tags"][0] in known
            assert method["summary"]


@pytest.mark.parametrize(
    ("params", "code", "told"),
    [
        ({"colour": "red"}, "filter_unknown", "name__prefix"),
        ({"price__prefix": "1"}, "filter_unknown", "price__gte"),
        ({"sku__isnull": "true"}, "filter_unknown", "sku"),
        ({"price__gte": "cheap"}, "filter_invalid", "price__gte: 'cheap' is no number"),
        ({"price": "NaN"}, "filter_invalid", "price"),
        ({"stock_quantity": "9223372036854775808"}, "filter_invalid", "whole number"),
        ({"active": "yes"}, "filter_invalid", "true or false"),
        ({"created_at__gte": "yesterday"}, "filter_invalid", "%2B"),
        ({"created_at": "9999-12-31"}, "filter_invalid", "no day or moment from 0001-01-02 to 9999-12-30"),
        ({"created_at": "9999-13-31"}, "filter_invalid", 'no day or moment"'),
        ({"import_id": "1"}, "filter_invalid", "import's id"),
        ({"name": ""}, "filter_invalid", "is empty"),
        ({"name": "x" * 1001}, "filter_invalid", "1001 characters"),
        ({"name": "a\0b"}, "filter_invalid", "name: must not contain the character U+0000"),
        ({"name": ["a", "b"]}, "filter_invalid", "more than once"),
        ({"sku__in": ",".join(map(str, range(201)))}, "filter_invalid", "201 values"),
        ({"search": "-!-"}, "filter_invalid", "no letter"),
        ({"sort": "colour"}, "sort_invalid", "price"),
        ({"sort": ["sku", "-sku"]}, "sort_invalid", "once"),
    ],
)
async def test_what_cannot_be_asked_for_is_said(
    results: Results, params: dict[str, Any], code: str, told: str
) -> None:
    answer = await results.get("/records/products", **params)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert told in answer.text


async def test_an_export_has_no_pages(results: Results) -> None:
    answer = await results.get("/records/products.csv", limit=10)
    assert (answer.status_code, answer.json()["code"]) == (422, "filter_unknown")


async def test_a_cursor_belongs_to_its_filters_and_its_order(results: Results, database: Database) -> None:
    for sku in ("A", "B", "C"):
        await database.product(sku, price=1)
    asked = {"price": "1", "sort": "-price"}
    cursor = (await results.get("/records/products", limit=1, **asked)).json()["next_cursor"]
    for other in (
        {"price": "1"},
        {"sort": "-price"},
        {"price": "1", "sort": "price"},
        {"price": "2", "sort": "-price"},
    ):
        answer = await results.get("/records/products", cursor=cursor, **other)
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
    rest = await results.get("/records/products", cursor=cursor, limit=2, total="exact", **asked)
    assert ([item["id"] for item in rest.json()["items"]], rest.json()["total"]) == (["b", "a"], 3)


async def test_a_record_that_did_not_change_is_not_sent_again(results: Results, database: Database) -> None:
    await database.product("A", price=1)
    tag = (await results.get("/records/products/a")).headers["etag"]
    again = {"If-None-Match": f'"other", W/{tag}'} | headers(results.secret)
    answer = await results.client.get("/api/v1/records/products/a", headers=again)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    await database.connection.execute("UPDATE data.products SET price = 2")
    answer = await results.client.get("/api/v1/records/products/a", headers=again)
    assert (answer.status_code, answer.json()["price"]) == (200, "2")
    assert answer.headers["etag"] != tag


async def test_sales_by_day_product_and_customer_newest_first(results: Results, database: Database) -> None:
    await database.connection.execute("""
        INSERT INTO data.sales (tenant, key, transaction_id, sold_at, sku, sku_key, customer_id, quantity, unit_price)
        SELECT 'acme', 't' || n, 't' || n, timestamptz '2026-03-01 00:00Z' + n * interval '12 h', 'Ab', 'ab',
            'C-' || n % 2, 1, 1 FROM generate_series(0, 5) n
    """)

    async def ids(**asked: str) -> list[str]:
        return [item["id"] for item in (await results.get("/records/sales", **asked)).json()["items"]]

    assert await ids() == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert await ids(sold_at="2026-03-02") == ["t3", "t2"]
    assert await ids(sold_at__gt="2026-03-02") == ["t5", "t4"]
    assert await ids(sold_at__lte="2026-03-01T12:00:00+00:00") == ["t1", "t0"]
    assert await ids(sku="AB", customer_id="C-1", sort="sold_at") == ["t1", "t3", "t5"]
    assert await ids(customer_id="c-1") == []


async def test_keys_of_several_parts_have_ids_for_urls(results: Results, database: Database) -> None:
    await database.connection.execute("""
        INSERT INTO data.quotes (tenant, key, quote_number, line_number, quoted_on, stock_code, stock_code_key)
        VALUES ('acme', 'q~1!/x' || chr(31) || '2', 'Q~1!/x', 2, '2026-03-01', 'B', 'b'),
            ('acme', 'q' || chr(31) || '1', 'Q', 1, NULL, 'B', 'b')
    """)
    items = (await results.get("/records/quotes", sort="-quoted_on")).json()["items"]
    assert [item["id"] for item in items] == ["q!~1!!/x~2", "q~1"]
    for item in items:
        answer = await results.get(f"/records/quotes/{quote(item['id'])}")
        assert answer.json() == item
    assert (await results.get("/records/quotes/q!~1")).status_code == 404


async def test_stock_codes_are_listed_newest_first(results: Results, database: Database) -> None:
    await database.connection.execute("""
        INSERT INTO data.stock_codes (tenant, key, stock_code, quotes_found, line_items_found, total_price, part_found,
            file_name, file_uploaded)
        SELECT 'acme', 'i' || chr(31) || n, 'BRG-' || n, 0, 0, 0, false, 'f.csv', now() + n * interval '1 s'
        FROM generate_series(1, 3) n
    """)
    page = (await results.get("/records/stock-codes", limit=2)).json()
    rest = (await results.get("/records/stock-codes", cursor=page["next_cursor"])).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == ["i~3", "i~2", "i~1"]


async def test_a_query_ends_in_its_time(engine: AsyncEngine) -> None:
    with pytest.raises(Unavailable, match=r"not found within 0\.05 s"):
        async with tenant_querying(engine, "acme", seconds=0.05) as connection:
            await connection.execute(text("SELECT pg_sleep(20)"))
    async with tenant_querying(engine, "acme", seconds=0.05) as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_each_dataset_is_described_by_its_declaration(results: Results) -> None:
    document = (await results.client.get("/openapi.json")).json()
    listing = document["paths"]["/api/v1/records/products"]["get"]
    names = {parameter["name"] for parameter in listing["parameters"]}
    assert {
        "search",
        "sort",
        "limit",
        "cursor",
        "total",
        "sku",
        "name__prefix",
        "price__gte",
        "active",
    } <= names
    assert not {"sku__isnull", "price__prefix", "isbn"} & names
    product = document["components"]["schemas"]["Product"]
    assert {"id", "sku", "price", "updated_at"} <= set(product["required"])
    assert product["properties"]["active"]["type"] == "boolean"
    for dataset in datasets():
        assert document["paths"][f"/api/v1/records/{dataset}"]["get"]["summary"] == f"List {dataset}"
