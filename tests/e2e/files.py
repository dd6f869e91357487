"""Files of every dataset with all that may become of a record, and what each record should become."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

Values = dict[str, Any]
REMARK = (
    "remark"  # a column that no dataset knows: it makes records long, and must come back in the error file
)


@dataclass(frozen=True)
class Spoiled:
    """A cell that makes its record bad, and the row error it must have."""

    column: str
    cell: str
    code: str


@dataclass(frozen=True)
class Kind:
    """What files of one dataset look like.

    Attributes:
        make: The values of key number n in its version v: the same for the same numbers.
        key: The columns of the key.
    """

    dataset: str
    make: Callable[[int, int], Values]
    key: tuple[str, ...]
    spoiled: tuple[Spoiled, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.make(0, 0), REMARK)

    def key_of(self, values: Values) -> str:
        key = "\x1f".join(str(values[name]) for name in self.key)
        return key if self.dataset in {"books", "sales"} else key.lower()


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        number: From 1.
        line: Physical line it begins in, from 1.
        cells: As they stand in the file.
        values: As they are to be loaded; None if the record is bad.
        fault: Code and column of the row error of a bad one.
    """

    number: int
    line: int
    offset: int
    raw: str
    cells: tuple[str, ...]
    key: str
    values: Values | None
    fault: tuple[str, str | None] | None


@dataclass(frozen=True)
class File:
    """A file, and what was written into it."""

    path: Path
    kind: Kind
    records: Sequence[Record]


def _case_of(code: str, version: int) -> str:
    return code.lower() if version % 2 else code


def _product(number: int, version: int) -> Values:
    chance = Random(number * 31 + version)
    return {
        "sku": _case_of(f"SKU-{number:06}", version),
        "name": f"Schraube Größe {chance.randrange(50)}",
        "description": chance.choice([None, f'Says "{number}", in\ntwo lines']),
        "price": chance.choice([None, Decimal(chance.randrange(10**6)) / 100]),
        "stock_quantity": chance.choice([None, chance.randrange(10**5)]),
    }


def _isbn(number: int) -> str:
    digits = f"978{number:09}"
    return digits + str(-sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10)


def _book(number: int, version: int) -> Values:
    return {
        "title": f"Bände, Teil {version}",
        "author": f"Ann O'Nym {number % 100}",
        "isbn": _isbn(number),
        "publication_year": 1900 + number % 120,
    }


def _sale(number: int, version: int) -> Values:
    chance = Random(number * 31 + version)
    price = Decimal(chance.randrange(1, 10**5)) / 100
    buyer = chance.randrange(1500)
    return {
        "transaction_id": f"T-{number:07}",
        "sold_at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(500_000)),
        # Some products were there before, some are new; all are sold again and again, in every slice.
        "sku": _case_of(f"SKU-{chance.randrange(3000):06}", chance.randrange(2)),
        "product_name": chance.choice([None, f"Mutter {chance.randrange(9)}"]),
        "customer_id": chance.choice([f"C-{buyer}", f"c-{buyer}", None]),
        "customer_name": chance.choice([f"Ada {buyer % 7}", None]),
        "customer_email": chance.choice([f"ada{buyer}@example.com", None]),
        "quantity": chance.choice([1, 2, 5, 12, -1]),
        "unit_price": price,
        "total_amount": chance.choice([None, price * 3 + Decimal("0.01")]),
    }


def _part(number: int, version: int) -> Values:
    chance = Random(number * 31 + version)
    return {
        "stock_code": _case_of(f"BRG-{number:05}", version),
        "name": f"Bearing {version}",
        "description": chance.choice([None, 'Round, "deep" groove']),
        "manufacturer": chance.choice(["Nordwerk", "Südwerk"]),
        "price": chance.choice([None, Decimal(chance.randrange(10**5)) / 1000]),
        "stock_quantity": chance.randrange(-5, 1000),
    }


def _quote(number: int, version: int) -> Values:
    chance = Random(number * 31 + version)
    price = Decimal(chance.randrange(10**5)) / 100
    return {
        # The lines of a quote are spread over the whole file: its total is touched in every slice.
        "quote_number": _case_of(f"Q-{number % 700}", version),
        "line_number": number // 700 + 1,
        "quoted_on": chance.choice([None, date(2024, 1, 1) + timedelta(days=number % 300)]),
        "customer": chance.choice([None, "Hafenbau AG", "Zoë & Co"]),
        "stock_code": _case_of(f"BRG-{chance.randrange(2000):05}", chance.randrange(2)),
        "quantity": chance.choice([None, 1, 20, -3]),
        "unit_price": price,
        "total_price": chance.choice([None, price * 7]),
    }


def _code(number: int, version: int) -> Values:
    return {"stock_code": _case_of(f"BRG-{number:05}", version)}


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.dataset: kind
        for kind in (
            Kind(
                "products",
                _product,
                ("sku",),
                (
                    Spoiled("name", "", "value_missing"),
                    Spoiled("price", "cheap", "not_a_number"),
                    Spoiled("stock_quantity", "1.5", "not_an_integer"),
                ),
            ),
            Kind(
                "books",
                _book,
                ("isbn",),
                (
                    Spoiled("title", "", "value_missing"),
                    Spoiled("isbn", "978-3-522-17750-9", "isbn_invalid"),
                    Spoiled("publication_year", "19x4", "not_an_integer"),
                ),
            ),
            Kind(
                "sales",
                _sale,
                ("transaction_id",),
                (
                    Spoiled("sold_at", "soon", "not_a_datetime"),
                    Spoiled("quantity", "0", "zero_not_allowed"),
                    Spoiled("sku", "", "value_missing"),
                ),
            ),
            Kind(
                "parts",
                _part,
                ("stock_code",),
                (Spoiled("stock_code", "", "value_missing"), Spoiled("price", "-1", "below_minimum")),
            ),
            Kind(
                "quotes",
                _quote,
                ("quote_number", "line_number"),
                (Spoiled("line_number", "0", "below_minimum"), Spoiled("quantity", "x", "not_an_integer")),
            ),
            Kind("stock-codes", _code, ("stock_code",), (Spoiled("stock_code", "", "value_missing"),)),
        )
    }
)


@dataclass
class _Writer:
    """Writes a file and keeps where each record begins."""

    text: list[str] = field(default_factory=list)
    offset: int = 0
    line: int = 1

    def add(self, cells: Sequence[str]) -> tuple[str, int, int]:
        """The record's text without its end, and the line and the byte where it begins."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow(cells)
        record = buffer.getvalue()
        began = (record[:-1], self.line, self.offset)
        self.text.append(record)
        self.line += record.count("\n")
        self.offset += len(record.encode())
        return began


def write(
    path: Path, kind: Kind, chance: Random, count: int, *, again: bool = True, remark_length: int = 150
) -> File:
    """A file of `count` records, of which every 50th or so is bad.

    Args:
        again: Whether keys come again, and in other versions; else each comes once, in its first version.
    """
    writer = _Writer()
    writer.add(kind.columns)
    records = []
    for number in range(1, count + 1):
        values = _values(kind, chance, number, again=again)
        remark = f"{chance.choice(['a, b', 'ä', chr(10), '.'])}{'x' * remark_length}"
        cells = [*map(_cell, values.values()), remark]
        fault = None
        if chance.random() < 0.02:
            cells, fault = _spoil(kind, chance, cells)
        raw, line, offset = writer.add(cells)
        records.append(
            Record(
                number=number,
                line=line,
                offset=offset,
                raw=raw,
                cells=tuple(cells),
                key=kind.key_of(values),
                values=None if fault else values,
                fault=fault,
            )
        )
    path.write_text("".join(writer.text), encoding="utf-8", newline="")
    return File(path, kind, records)


def _values(kind: Kind, chance: Random, number: int, *, again: bool) -> Values:
    if not again:
        return kind.make(number, 0)
    if chance.random() < 0.06:
        return kind.make(chance.randrange(1, number + 1), chance.randrange(2, 5))
    return kind.make(number, chance.randrange(2))


def _spoil(
    kind: Kind, chance: Random, cells: Sequence[str]
) -> tuple[list[str], tuple[str, str | None] | None]:
    if chance.random() < 0.2:
        return [*cells, "more"], ("extra_cell", None)
    spoiled = chance.choice(kind.spoiled)
    place = kind.columns.index(spoiled.column)
    return [*cells[:place], spoiled.cell, *cells[place + 1 :]], (spoiled.code, spoiled.column)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
