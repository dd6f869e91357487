from typing import Any
from urllib.parse import quote

import pytest

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


async def test_the_datasets_need_a_token(results: Results) -> None:
    assert (await results.client.get("/api/v1/datasets")).status_code == 401


async def test_openapi_describes_every_path(results: Results) -> None:
    paths = (await results.client.get("/openapi.json")).json()["paths"]
    for path, methods in paths.items():
        for method in methods.values():
            assert path.startswith("/health") or method["tags"][0] in {"imports", "records", "datasets"}
            assert method["summary"]
