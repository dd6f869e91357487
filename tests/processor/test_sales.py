"""Sales: each transaction once, and what follows from it for products, stock and customers; against a model."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from tests.processor.conftest import Change
from tests.processor.given import SLICES, balance, on_real_servers, written

COLUMNS = (
    "transaction_id", "sold_at", "sku", "product_name", "customer_id", "customer_name", "customer_email",
    "quantity", "unit_price", "total_amount",
)  # fmt: skip
SALES = st.tuples(
    st.sampled_from(["t1", "T1", "t2", "t3", "t4", "t5", "t6"]),
    st.sampled_from(["2024-01-01", "2024-02-02 10:00:00", "2024-03-03"]),
    st.sampled_from(["a", "A", "b", "c", "d"]),
    st.sampled_from([None, "Bolt", "Nut"]),
    st.sampled_from([None, "C1", "c1", "C2"]),
    st.sampled_from([None, "Ada", "Bea"]),
    st.sampled_from([None, "ada@example.com", "Ada@example.com"]),
    st.sampled_from(["1", "2", "-1", "-3"]),
    st.sampled_from(["0.1", "0.2", "1.5", "99999999999999.9999"]),
    st.sampled_from([None, "0.3", "-7"]),
)
STOCK = (("a", "10"), ("b", None), ("d", "0"))


@dataclass
class Model:
    transactions: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    products: dict[str, list[Any]] = field(default_factory=dict)  # sku, name, price, stock, import, record
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def sell(self, import_id: UUID, number: int, record: tuple[Any, ...]) -> None:
        sale = dict(zip(COLUMNS, record, strict=True))
        if sale["transaction_id"] in self.transactions:
            self.counts["duplicate"] += 1
            return
        self.counts["inserted"] += 1
        quantity, price = int(sale["quantity"]), Decimal(sale["unit_price"])
        amount = Decimal(sale["total_amount"]) if sale["total_amount"] else quantity * price
        self.transactions[sale["transaction_id"]] = (sale["sku"], quantity, amount, number)
        product = self.products.setdefault(
            sale["sku"].lower(),
            [sale["sku"], sale["product_name"] or sale["sku"], price, None, import_id, number],
        )
        if product[3] is not None:
            product[3] -= quantity
        buyer = sale["customer_id"] or sale["customer_email"] or sale["customer_name"]
        if buyer:
            self.buy(buyer.lower(), sale, amount)

    def buy(self, key: str, sale: dict[str, Any], amount: Decimal) -> None:
        fresh = {"purchases": 0, "amount": Decimal(0), "days": [], "customer_id": None, "name": None}
        customer = self.customers.setdefault(key, fresh | {"email": None})
        customer["purchases"] += 1
        customer["amount"] += amount
        customer["days"].append(sale["sold_at"][:10])
        for column, value in (
            ("customer_id", sale["customer_id"]),
            ("name", sale["customer_name"]),
            ("email", sale["customer_email"]),
        ):
            customer[column] = value or customer[column]


async def check(mill, tenant, model):
    sales = await mill.records("sales", tenant=tenant)
    assert {
        row["key"]: (row["sku"], row["quantity"], row["amount"], row["row_number"]) for row in sales
    } == model.transactions
    products = await mill.records("products", tenant=tenant)
    columns = ("sku", "name", "price", "stock_quantity", "import_id", "row_number")
    assert {row["key"]: [row[name] for name in columns] for row in products} == model.products
    found = {}
    for row in await mill.records("customers", tenant=tenant):
        days = sorted(model.customers[row["key"]]["days"])
        assert [str(row[name])[:10] for name in ("first_sold_at", "last_sold_at")] == [days[0], days[-1]]
        found[row["key"]] = {
            name: row[name] for name in ("purchases", "amount", "customer_id", "name", "email")
        }
    said = [{k: v for k, v in customer.items() if k != "days"} for customer in model.customers.values()]
    assert found == dict(zip(model.customers, said, strict=True))


async def with_products(mill, tenant):
    work = await mill.load(
        written(("sku", "name", "stock_quantity"), ((sku, "Known", stock) for sku, stock in STOCK)),
        mill.pipeline(slice_bytes=1 << 20),
        dataset="products",
        tenant=tenant,
        dialect=Dialect(),
    )
    return Model(
        products={
            sku: [sku, "Known", None, None if stock is None else int(stock), work["import_id"], number]
            for number, (sku, stock) in enumerate(STOCK, 1)
        }
    )


IMPORTS = st.lists(
    st.tuples(st.lists(SALES, max_size=9), st.sampled_from(SLICES), st.booleans()), min_size=1, max_size=3
)


@on_real_servers(40)
@given(IMPORTS)
async def test_sales_are_as_if_they_came_one_by_one(mill, imports):
    tenant = str(uuid4())
    model = await with_products(mill, tenant)
    for records, slice_bytes, atomic in imports:
        model.counts.clear()
        import_id = await mill.take_on(
            written(COLUMNS, records),
            dataset="sales",
            tenant=tenant,
            dialect=Dialect(),
            options={"atomic": atomic},
        )
        for number, record in enumerate(records, 1):
            model.sell(import_id, number, record)
        work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
        assert balance(work) == dict.fromkeys(balance(work), 0) | dict(model.counts)
        await check(mill, tenant, model)
        assert len(await mill.errors(import_id)) == model.counts["duplicate"]


async def sell(mill, *records, **options):
    return await mill.load(
        written(COLUMNS, records), mill.pipeline(slice_bytes=1), dataset="sales", dialect=Dialect(), **options
    )


def sale(transaction, sku, quantity, **more):
    record = {"transaction_id": transaction, "sku": sku, "quantity": quantity}
    record |= {"sold_at": "2024-01-01", "unit_price": "1"} | more
    return tuple(record.get(name) for name in COLUMNS)


async def stock_of(mill):
    return {row["key"]: row["stock_quantity"] for row in await mill.records("products")}


async def test_stock_falls_where_it_is_known_and_rises_with_a_return(mill):
    await with_products(mill, "acme")
    await sell(mill, sale("1", "A", 4), sale("2", "b", 1), sale("3", "d", 5), sale("4", "a", -1))
    assert await stock_of(mill) == {"a": 7, "b": None, "d": -5}


async def test_a_transaction_that_comes_again_changes_no_stock(mill):
    await with_products(mill, "acme")
    for _ in range(2):
        work = await sell(mill, sale("1", "a", 4), sale("1", "a", 4))
        assert (await stock_of(mill))["a"] == 6
    assert balance(work)["duplicate"] == 2
    messages = [error["message"] for error in await mill.errors(work["import_id"])]
    assert all("record 1 of import" in message for message in messages)


async def test_what_sales_change_about_products_is_kept(mill):
    await with_products(mill, "acme")
    work = await mill.load(
        written(COLUMNS, [sale("1", "new", 1), sale("2", "a", 3), sale("3", "A", 1)]),
        mill.pipeline(slice_bytes=1 << 20),
        dataset="sales",
        dialect=Dialect(),
    )
    products = [change for change in await mill.changes(work["import_id"]) if change.dataset == "products"]
    assert products == [
        Change("products", "created", 1, "new", None),
        Change("products", "updated", 2, "a", {"stock_quantity": 10}),
    ]


@pytest.mark.parametrize("atomic", [False, True])
async def test_what_sales_change_about_products_is_told(mill, atomic):
    await with_products(mill, "acme")
    await mill.load(
        written(COLUMNS, [sale("1", "new", 1), sale("2", "a", 3), sale("3", "b", 1), sale("4", "d", 1)]),
        mill.pipeline(slice_bytes=1 << 20),
        dataset="sales",
        dialect=Dialect(),
        options={"atomic": atomic},
    )
    _, *told = [event.data for event in await mill.events("records.changed")]
    assert [(one.dataset, one.created, one.updated) for one in told] == [("sales", 4, 0), ("products", 1, 2)]
    assert len({(one.import_id, one.slice) for one in told}) == 1
    kept = "SELECT sum(cardinality(keys)) FROM processor.changes WHERE dataset = $1 AND import_id = $2 AND slice = $3"
    products = told[1]
    found = await mill.database.fetchval(kept, products.dataset, products.import_id, products.slice)
    assert found == products.created + products.updated


async def test_sums_are_exact(mill):
    rows = [sale(str(number), "a", 1, unit_price="0.1", customer_id="c") for number in range(10)]
    await sell(mill, *rows)
    [customer] = await mill.records("customers")
    assert (customer["purchases"], customer["amount"]) == (10, Decimal("1.0"))


async def test_a_dry_run_of_sales_moves_nothing(mill):
    await with_products(mill, "acme")
    work = await sell(mill, sale("1", "a", 4, customer_id="c"), options={"dry_run": True})
    assert balance(work)["inserted"] == 1
    assert await stock_of(mill) == {"a": 10, "b": None, "d": 0}
    assert (await mill.records("sales"), await mill.records("customers")) == ([], [])


async def test_no_stock_can_be_sold_beyond_what_a_number_holds(mill):
    await mill.load(
        "sku,name,stock_quantity\na,Bolt,1000000000000\nb,Nut,9223372036854775807\n", dataset="products"
    )
    work = await sell(mill, *(sale(str(number), "a", 10**9) for number in range(20)), sale("x", "a", 10**10))
    assert (balance(work)["inserted"], work["rows_rejected"]) == (20, 1)
    assert await stock_of(mill) == {"a": 10**12 - 20 * 10**9}
    assert [error["code"] for error in await mill.errors(work["import_id"])] == ["above_maximum"]
