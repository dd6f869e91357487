"""Named steps: what a declaration cannot say. Each is SQL over the records just loaded from the stage.

- `sale`: the product and the customer exist from now on; stock falls by what was sold (a return has a negative
  quantity); the customer's totals grow. A stock that nobody ever told stays unknown.
- `quote`: the quote's totals follow its line items.
- `look-up`: a stock code's result is what the tenant's parts, quotes and quote lines say at that moment.

In the texts `{stage}` is the stage's table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from services.processor.merging.merge import changes_from, columns_before


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        statements: Done behind the load, in order; with the parameters of `Merge`.
        tables: What they write in `data`.
        computed: Columns that the load itself computes, and their expressions.
        source: A join that gives these expressions their values, for each record `first`.
    """

    statements: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    computed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""


# What a step keeps of another dataset's changes is told, too.
_TOLD = "RETURNING dataset, kind, cardinality(keys) AS records"

# Each record of the stage is looked up by itself (OFFSET 0 keeps it so). As a plain join, with the statistics of a new
# or growing table, the planner may go through the stage for every record of the tenant instead.
_SOLD = """
    SELECT t.*, t.sku_key AS product_key,
        lower(coalesce(t.customer_id, t.customer_email, t.customer_name) COLLATE pg_c_utf8) AS buyer
    FROM {stage} s CROSS JOIN LATERAL (
        SELECT * FROM data.sales WHERE tenant = :tenant AND key = s.key OFFSET 0
    ) t WHERE t.import_id = :import_id AND t.row_number = s.row_number
"""

_CUSTOMERS = f"""
    INSERT INTO data.customers AS c
        (tenant, key, customer_id, name, email, purchases, amount, first_sold_at, last_sold_at, import_id, row_number)
    SELECT :tenant, buyer, {
    ", ".join(
        f"(array_agg({name} ORDER BY row_number DESC) FILTER (WHERE {name} IS NOT NULL))[1]"
        for name in ("customer_id", "customer_name", "customer_email")
    )
},
        count(*), coalesce(sum(amount), 0), min(sold_at), max(sold_at), :import_id, min(row_number)
    FROM ({_SOLD}) sold WHERE buyer IS NOT NULL GROUP BY buyer ORDER BY buyer COLLATE "C"
    ON CONFLICT (tenant, key) DO UPDATE SET
        customer_id = coalesce(excluded.customer_id, c.customer_id),
        name = coalesce(excluded.name, c.name),
        email = coalesce(excluded.email, c.email),
        purchases = c.purchases + excluded.purchases,
        amount = c.amount + excluded.amount,
        first_sold_at = least(c.first_sold_at, excluded.first_sold_at),
        last_sold_at = greatest(c.last_sold_at, excluded.last_sold_at),
        updated_at = now()
"""

_PRODUCTS = f"""
    WITH made AS (
        INSERT INTO data.products (tenant, key, sku, name, price, import_id, row_number)
        SELECT DISTINCT ON (product_key)
            :tenant, product_key, sku, coalesce(product_name, sku), unit_price, :import_id, row_number
        FROM ({_SOLD}) sold ORDER BY product_key, row_number
        ON CONFLICT (tenant, key) DO NOTHING
        RETURNING row_number, key
    ) {changes_from("made", "products", "'created'")} {_TOLD}
"""

# The tenant comes from `moved`, so that it says nothing of `products` alone: for the same reason.
_STOCK = f"""
    WITH moved AS (
        SELECT tenant, product_key, sum(quantity) AS quantity, min(row_number) AS row_number
        FROM ({_SOLD}) sold GROUP BY tenant, product_key
    ), lowered AS (
        UPDATE data.products p SET stock_quantity = p.stock_quantity - moved.quantity, updated_at = now()
        FROM moved
        WHERE p.tenant = moved.tenant AND p.key = moved.product_key
            AND p.stock_quantity IS NOT NULL AND moved.quantity <> 0
        RETURNING moved.row_number, p.key, old.stock_quantity AS old_stock_quantity
    ) {changes_from("lowered", "products", "'updated'", columns_before(["stock_quantity"]))} {_TOLD}
"""

_QUOTE_TOTALS = """
    INSERT INTO data.quote_totals AS q (tenant, key, quote_number, quoted_on, customer, line_items, total_price)
    SELECT :tenant, touched.key, total.*
    FROM (SELECT DISTINCT split_part(key, E'\\x1f', 1) AS key FROM {stage}) touched CROSS JOIN LATERAL (
        SELECT min(t.quote_number), max(t.quoted_on), max(t.customer), count(*), coalesce(sum(t.amount), 0)
        FROM data.quotes t WHERE t.tenant = :tenant
            AND t.key >= touched.key || E'\\x1f' AND t.key < touched.key || E'\\x20'
    ) total
    ORDER BY touched.key COLLATE "C"
    ON CONFLICT (tenant, key) DO UPDATE SET quote_number = excluded.quote_number, quoted_on = excluded.quoted_on,
        customer = excluded.customer, line_items = excluded.line_items, total_price = excluded.total_price,
        updated_at = now()
    WHERE (q.quote_number, q.quoted_on, q.customer, q.line_items, q.total_price) IS DISTINCT FROM
        (excluded.quote_number, excluded.quoted_on, excluded.customer, excluded.line_items, excluded.total_price)
"""

_LOOK_UP = """
    CROSS JOIN LATERAL (
        SELECT count(DISTINCT split_part(q.key, E'\\x1f', 1)) AS quotes, count(*) AS line_items,
            coalesce(sum(q.amount), 0) AS price
        FROM data.quotes q WHERE q.tenant = :tenant AND q.stock_code_key = first.key
    ) quoted
    CROSS JOIN (SELECT file_name, uploaded_at FROM processor.imports WHERE import_id = :import_id) file
"""

STEPS: Mapping[str | None, Step] = MappingProxyType(
    {
        None: Step(),
        "sale": Step((_CUSTOMERS, _PRODUCTS, _STOCK), tables=("customers", "products")),
        "quote": Step((_QUOTE_TOTALS,), tables=("quote_totals",)),
        "look-up": Step(
            computed={
                "quotes_found": "quoted.quotes",
                "line_items_found": "quoted.line_items",
                "total_price": "quoted.price",
                "part_found": "EXISTS (SELECT FROM data.parts p WHERE p.tenant = :tenant AND p.key = first.key)",
                "file_name": "file.file_name",
                "file_uploaded": "file.uploaded_at",
            },
            source=_LOOK_UP,
        ),
    }
)
