"""What a tenant's tables must hold, had each file come one record after the other: in plain Python."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.e2e.files import Record, Values

Rows = dict[str, Values]  # the rows of a table by key


@dataclass(frozen=True)
class Refused:
    """A record with a row error."""

    record: Record
    code: str
    column: str | None


@dataclass
class Outcome:
    """What became of an import's records.

    Attributes:
        created: The record that made each key, by dataset and key.
        updated: The record that changed a key first, and the row before.
        unchanged: Keys and record numbers.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    created: dict[tuple[str, str], int] = field(default_factory=dict)
    updated: dict[str, tuple[int, Values]] = field(default_factory=dict)
    unchanged: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class World:
    """The rows of a tenant's tables, by table and key."""

    tables: dict[str, Rows] = field(default_factory=dict)
    _quoted: dict[str, list[tuple[str, Decimal]]] = field(default_factory=dict)  # by stock code

    def rows(self, table: str) -> Rows:
        return self.tables.setdefault(table, {})

    def load(self, dataset: str, import_id: str, records: Iterable[Record]) -> Outcome:
        """Take an import's records in."""
        outcome = Outcome()
        take = {
            "products": self._overwrite,
            "parts": self._overwrite,
            "quotes": self._overwrite,
            "books": self._reject,
            "sales": self._reject,
            "stock-codes": self._look_up,
        }[dataset]
        if dataset == "stock-codes":
            self._find_quoted()
        touched = set()
        for record in records:
            outcome.counts["processed"] += 1
            if record.values is None:
                outcome.counts["rejected"] += 1
                outcome.refused.append(Refused(record, *record.fault))
            else:
                touched.add(record.key)
                outcome.counts[take(outcome, dataset, import_id, record)] += 1
        if dataset == "quotes":
            self._total({key.split("\x1f")[0] for key in touched})
        return outcome

    def _overwrite(self, outcome: Outcome, dataset: str, import_id: str, record: Record) -> str:
        rows = self.rows(dataset)
        held = rows.get(record.key)
        row = _EXTRA[dataset](record.values) | _origin(import_id, record)
        if held is None:
            outcome.created[dataset, record.key] = record.number
        elif held["import_id"] != import_id:
            if all(held[name] == value for name, value in record.values.items()):
                outcome.unchanged.add((record.key, record.number))
                return "unchanged"
            outcome.updated[record.key] = (record.number, held)
        rows[record.key] = row
        if held is None:
            return "inserted"
        return "duplicate" if held["import_id"] == import_id else "updated"

    def _reject(self, outcome: Outcome, dataset: str, import_id: str, record: Record) -> str:
        rows = self.rows(dataset)
        if record.key in rows:
            column = {"books": "isbn", "sales": "transaction_id"}[dataset]
            outcome.refused.append(Refused(record, "duplicate_key", column))
            return "duplicate"
        rows[record.key] = _EXTRA[dataset](record.values) | _origin(import_id, record)
        outcome.created[dataset, record.key] = record.number
        if dataset == "sales":
            self._sell(outcome, import_id, record, rows[record.key])
        return "inserted"

    def _sell(self, outcome: Outcome, import_id: str, record: Record, sale: Values) -> None:
        key = sale["sku_key"]
        product = self.rows("products").get(key)
        if product is None:
            outcome.created["products", key] = record.number
            self.rows("products")[key] = {
                "sku": sale["sku"],
                "name": sale["product_name"] or sale["sku"],
                "description": None,
                "price": sale["unit_price"],
                "stock_quantity": None,
                "active": True,
            } | _origin(import_id, record)
        elif product["stock_quantity"] is not None:
            product["stock_quantity"] -= sale["quantity"]
        buyer = sale["customer_id"] or sale["customer_email"] or sale["customer_name"]
        if buyer:
            self._buy(buyer.lower(), import_id, record, sale)

    def _buy(self, key: str, import_id: str, record: Record, sale: Values) -> None:
        at = sale["sold_at"]
        fresh = {"purchases": 0, "amount": Decimal(0), "first_sold_at": at, "last_sold_at": at}
        fresh |= dict.fromkeys(("customer_id", "name", "email"))
        customer = self.rows("customers").setdefault(key, fresh | _origin(import_id, record))
        customer["purchases"] += 1
        customer["amount"] += sale["amount"]
        customer["first_sold_at"] = min(customer["first_sold_at"], at)
        customer["last_sold_at"] = max(customer["last_sold_at"], at)
        for column in ("customer_id", "customer_name", "customer_email"):
            name = column if column == "customer_id" else column.removeprefix("customer_")
            customer[name] = sale[column] or customer[name]

    def _total(self, quotes: set[str]) -> None:
        lines: dict[str, list[Values]] = {}
        for key, line in self.rows("quotes").items():
            lines.setdefault(key.split("\x1f")[0], []).append(line)
        for quote in quotes:
            items = lines[quote]
            self.rows("quote_totals")[quote] = {
                "quote_number": min(item["quote_number"] for item in items),
                "quoted_on": _largest(item["quoted_on"] for item in items),
                "customer": _largest(item["customer"] for item in items),
                "line_items": len(items),
                "total_price": sum(item["amount"] for item in items),
                "import_id": None,
                "row_number": None,
            }

    def _look_up(self, outcome: Outcome, dataset: str, import_id: str, record: Record) -> str:
        rows = self.rows("stock_codes")
        key = f"{import_id}\x1f{record.key}"
        if key in rows:
            return "duplicate"
        found = self._quoted.get(record.key, [])
        rows[key] = {
            **record.values,
            "quotes_found": len({quote for quote, _ in found}),
            "line_items_found": len(found),
            "total_price": sum((amount for _, amount in found), Decimal(0)),
            "part_found": record.key in self.rows("parts"),
        } | _origin(import_id, record)
        outcome.created[dataset, key] = record.number
        return "inserted"

    def _find_quoted(self) -> None:
        self._quoted = {}
        for key, line in self.rows("quotes").items():
            found = self._quoted.setdefault(line["stock_code_key"], [])
            found.append((key.split("\x1f")[0], line["amount"]))


def _origin(import_id: str, record: Record) -> Values:
    return {"import_id": import_id, "row_number": record.number}


def _largest(values: Iterable[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _as_it_is(values: Values) -> Values:
    return dict(values)


def _product(values: Values) -> Values:
    return values | {"active": True}


def _sale(values: Values) -> Values:
    amount = values["total_amount"]
    amount = values["quantity"] * values["unit_price"] if amount is None else amount
    return values | {"sku_key": values["sku"].lower(), "amount": amount}


def _quote(values: Values) -> Values:
    amount = values["total_price"]
    quantity = 1 if values["quantity"] is None else values["quantity"]
    amount = quantity * values["unit_price"] if amount is None else amount
    return values | {
        "description": None,  # the file has no such column
        "stock_code_key": values["stock_code"].lower(),
        "amount": amount,
    }


_EXTRA = {"products": _product, "books": _as_it_is, "parts": _as_it_is, "sales": _sale, "quotes": _quote}
