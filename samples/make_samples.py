"""Writes the sample files and expected.json beside this file: invented records, and the faults that real files have.

Run it again after a change: `python samples/make_samples.py`. The same code gives the same bytes.
"""

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
RECORDS = 280  # good ones of each file; the faulty ones come on top


def _words(text: str) -> list[str]:
    return text.split(",")


MATERIALS = _words("Copper,Oak,Linen,Steel,Cork,Wool,Glass,Bamboo,Brass,Felt,Granite,Paper,Rubber,Slate")
THINGS = _words(
    "Kettle,Desk Lamp,Bookend,Doorstop,Water Bottle,Tool Roll,Coat Hook,Planter,Trivet,Notebook,Ladder,"
    "Bread Board,Pipe Clamp,Watering Can,Wall Clock,Gate Valve,Sluice Board,Mill Brush,Rain Gauge,Pulley"
)
USES = (
    "Made to last and easy to mend",
    "For workshop, kitchen and garden",
    "Comes flat, goes together without tools",
    "Tested at the mill, by people who use it all day",
)
# Good records that a naive reader breaks: quotes, delimiters, line breaks, scripts, spaces.
CAREFUL_PRODUCTS = (
    ('Rohrmuffe 3/4"', "PIPE-034", 'Für Rohre von 3/4" bis 1", verzinkt'),
    ("Müllkübel Größe L", "TONNE-L", "Fasst 60 Liter; mit Deckel, Griff und Rädern"),
    ("Café-Tasse „Élan“", "TASSE-7", "Porcelaine, décorée à la main"),
    ("Термос «Север»", "TERM-01", "Держит тепло 24 часа"),
    ("急須 小", "KYUSU-S", "陶器、容量三百ミリリットル"),
    ("مصباح مكتب", "LAMP-AR", "ضوء دافئ، سلك طويل"),
    ("Seed Box", "SEED-BOX", "Holds:\n- 12 packets\n- 1 pencil\n- a label for each row"),
    ("  Loose Hinge  ", "  HINGE-9  ", " Spaces around a value are not part of it "),
    ("Plain Peg", "PEG-1", ""),
)
TITLES = _words(
    "Ledger,Mill,Lighthouse,Orchard,Cartographer,Ferryman,Winter,Sluice,Archive,Clockmaker,Harbour,Quarry"
)
PLACES = _words(
    "the Marsh,Low Water,Nine Bridges,the Upper Lock,Grey Island,the Salt Road,Ember Hill,the Last Weir"
)
FORENAMES = _words(
    "Ada,Bruno,Carys,Dmitri,Elif,Fionn,Greta,Hana,Ilse,Jonas,Keiko,Lior,Mirjam,Nils,Oksana,Pau"
)
SURNAMES = _words(
    "Abelsen,Brandauer,Cavallin,Drozd,Ekwall,Fairweather,Grünwald,Haverkamp,Ibáñez,Jørstad,Kéri,Łukasik"
)
CAREFUL_BOOKS = (
    ("Der Müller und das Wehr, oder: Ein Jahr am Fluß", "Jörg Weißenböck", "1987"),
    ('The Book Called "Nothing"', "O'Hara, Maeve", "2004"),
    ("A Title\nin Two Lines", "Tomás de la Peña", "1999"),
    ("Η θάλασσα και ο μύλος", "Ελένη Παππά", "2011"),
    ("Мельница на краю", "Вера Лукина", "1974"),
    ("水車小屋の一年", "森本 あかり", "2018"),
    ("طاحونة النهر", "سلمى الحداد", "2015"),
    ("नदी की चक्की", "अनन्या राव", "2021"),
)


def main() -> None:
    """Write all files."""
    expected = {
        "products.csv": _write("products.csv", "products", _line("name", "sku", "description"), products()),
        "books.csv": _write(
            "books.csv", "books", _line("title", "author", "isbn", "publication_year"), books()
        ),
        "sales.csv": _write(
            "sales.csv",
            "sales",
            "Transaction;Date;SKU;Customer;Email;Qty;Price\r\n",
            sales(),
            encoding="cp1252",
        ),
        "parts.tsv": _write("parts.tsv", "parts", "Part No\tName\tPrice\tOn Hand\n", parts()),
        "quotes.csv": _write("quotes.csv", "quotes", QUOTES_TITLE + QUOTES_HEADER, quotes()),
        "stock-codes.txt": _write(
            "stock-codes.txt", "stock-codes", "Stock Code\r\n", stock_codes(), encoding="utf-16"
        ),
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


def products() -> Iterator[tuple[str, str]]:
    """Each line of the file, with what must become of it: an outcome, or "" for a line that is no record."""
    rng = random.Random(1)
    pairs = list(product(MATERIALS, THINGS))
    rng.shuffle(pairs)
    for number, (material, thing) in enumerate(pairs[: RECORDS - len(CAREFUL_PRODUCTS)], start=1):
        sku = f"{material[:2].upper()}-{thing.replace(' ', '')[:4].upper()}-{number:03}"
        yield _line(f"{material} {thing}", sku, f"{rng.choice(USES)}. Size {rng.randint(1, 9)}."), "inserted"
        if number % 60 == 0:  # a product that comes again, its SKU written differently: the later one counts
            yield _line(f"{material} {thing} (new)", sku.lower(), "Same SKU in other case."), "duplicate"
    for record in CAREFUL_PRODUCTS:
        yield _line(*record), "inserted"
    yield "\n", ""
    yield _line("Nameless Valve", "", "Its SKU is missing."), "rejected"
    yield _line("", "NO-NAME-1", "Its name is missing."), "rejected"
    yield _line("Long SKU", "X" * 300, "A SKU has at most 255 characters."), "rejected"
    yield "Too Few Cells,FEW-1\n", "rejected"
    yield "Lone Cell\n", "rejected"
    yield "Too Many Cells,MANY-1,A comma, that nobody put into quotes\n", "rejected"


def books() -> Iterator[tuple[str, str]]:
    """Each line of the file, with what must become of it: an outcome, or "" for a line that is no record."""
    rng = random.Random(2)
    titles = [f"The {noun} of {place}" for noun, place in product(TITLES, PLACES)]
    titles += [f"{noun} without {other}" for noun, other in product(TITLES, TITLES) if noun != other]
    titles += [f"A {noun} for {name}" for noun, name in product(TITLES, FORENAMES)]
    for number, title in enumerate(titles[: RECORDS - len(CAREFUL_BOOKS)]):
        author = f"{rng.choice(FORENAMES)} {rng.choice(SURNAMES)}"
        isbn = isbn_10(number) if number % 20 == 0 else isbn_13(number)
        yield _line(title, author, isbn, str(rng.randint(1900, 2024))), "inserted"
    for number, (title, author, year) in enumerate(CAREFUL_BOOKS, start=900):
        yield _line(title, author, isbn_13(number), year), "inserted"
    yield "\n", ""
    yield _line("The Same ISBN Again", "Nils Drozd", isbn_13(7), "2001"), "duplicate"
    yield _line("Without Hyphens", "Nils Drozd", isbn_13(7).replace("-", ""), "2001"), "duplicate"
    yield _line("As ISBN-13, Before as ISBN-10", "Nils Drozd", isbn_13(20), "2001"), "duplicate"
    yield _line("As ISBN-10, Before as ISBN-13", "Nils Drozd", isbn_10(21), "2001"), "duplicate"
    yield _line("", "No Title", isbn_13(950), "1990"), "rejected"
    yield _line("No Author", "", isbn_13(951), "1990"), "rejected"
    yield _line("No ISBN", "Elif Kéri", "", "1990"), "rejected"
    yield _line("No Year", "Elif Kéri", isbn_13(952), ""), "rejected"
    yield _line("Wrong Check Digit", "Hana Ekwall", _wrong(isbn_13(953)), "1990"), "rejected"
    yield _line("Wrong Check Digit of an ISBN-10", "Hana Ekwall", _wrong(isbn_10(954)), "1990"), "rejected"
    yield _line("ISBN out of a Spreadsheet", "Hana Ekwall", "9.78649E+12", "1990"), "rejected"
    yield _line("A Year to Come", "Pau Cavallin", isbn_13(955), "2999"), "rejected"
    yield _line("A Year Too Early", "Pau Cavallin", isbn_13(956), "973"), "rejected"
    yield _line("A Year in Roman", "Pau Cavallin", isbn_13(957), "MCMXC"), "rejected"
    yield "Too Few Cells,Ilse Haverkamp\n", "rejected"
    yield f"Too Many Cells,Haverkamp, Ilse,{isbn_13(958)},1990\n", "rejected"


# What a spreadsheet writes above a table that has a title.
QUOTES_TITLE = "Quotes of the first quarter\nPrinted 2024-04-02,,,,,\n\n"
QUOTES_HEADER = "Quote No,Line,Quote Date,Customer,Part No,Qty,Unit Price\n"


def sales() -> Iterator[tuple[str, str]]:
    """Semicolons and Windows-1252, days before months; a return, a sale sent twice, products not known before."""
    rng = random.Random(3)
    for number in range(1, RECORDS + 1):
        day, month = rng.randint(1, 28), rng.randint(1, 12)
        customer = f"{rng.choice(FORENAMES)} {rng.choice(('Grünwald', 'Jørstad', 'Ibáñez', 'Drozd'))}"
        sku = "PEG-1" if number % 3 else f"MILL-{number % 21:02}"
        quantity = -1 if number % 40 == 0 else rng.randint(1, 9)
        price = f"{rng.randint(100, 9999) / 100:.2f}"
        mail = f"{customer.split(maxsplit=1)[0].lower()}@example.com"
        yield (
            f"S-{number:05};{day:02}.{month:02}.2024;{sku};{customer};{mail};{quantity};{price}\r\n",
            "inserted",
        )
    yield "S-00007;07.07.2024;PEG-1;Ada Drozd;;1;2.50\r\n", "duplicate"
    yield "S-90001;31.02.2024;PEG-1;Ada Drozd;;1;2.50\r\n", "rejected"
    yield "S-90002;03.04.2024;PEG-1;Ada Drozd;;0;2.50\r\n", "rejected"
    yield "S-90003;03.04.2024;PEG-1;Ada Drozd;not an address;1;cheap\r\n", "rejected"


def parts() -> Iterator[tuple[str, str]]:
    """Tabs between cells."""
    rng = random.Random(4)
    for number in range(60):
        price, stock = f"{rng.randint(50, 50_000) / 100:.2f}", rng.randint(0, 400)
        yield f"P-{number:03}\t{rng.choice(THINGS)}, {rng.choice(MATERIALS)}\t{price}\t{stock}\n", "inserted"
    yield "p-007\tThe same part, written small\t1.00\t1\n", "duplicate"
    yield "P-900\tNo price at all\tfree\t1\n", "rejected"


def quotes() -> Iterator[tuple[str, str]]:
    """Line items below a title."""
    rng = random.Random(5)
    for number in range(1, 41):
        customer = rng.choice(SURNAMES)
        for line in range(1, rng.randint(2, 5)):
            part, quantity = f"P-{rng.randint(0, 59):03}", rng.randint(1, 50)
            price = f"{rng.randint(50, 50_000) / 100:.2f}"
            yield (
                f"Q-{number:04},{line},2024-{number % 3 + 1:02}-15,{customer},{part},{quantity},{price}\n",
                "inserted",
            )
    yield "Q-9001,,2024-03-15,Drozd,P-001,1,1.00\n", "rejected"


def stock_codes() -> Iterator[tuple[str, str]]:
    """One column in UTF-16, as spreadsheets write "Unicode text"; codes that come twice, codes that nobody quoted."""
    for number in range(0, 80, 2):
        yield f"P-{number:03}\r\n", "inserted"
    yield "p-000\r\n", "duplicate"
    yield "NOBODY-KNOWS-IT\r\n", "inserted"
    yield f"{'9' * 300}\r\n", "rejected"
    yield "\r\n", ""


def isbn_13(number: int) -> str:
    """An ISBN-13 in the group 649, which no publisher has."""
    digits = f"978649{number:06}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"978-649-{number:06}-{-total % 10}"


def isbn_10(number: int) -> str:
    """The same book as `isbn_13(number)`."""
    digits = f"649{number:06}"
    total = sum(int(digit) * (10 - place) for place, digit in enumerate(digits))
    return f"649-{number:06}-{'0123456789X'[-total % 11]}"


def _wrong(isbn: str) -> str:
    return isbn[:-1] + ("3" if isbn[-1] != "3" else "4")


def _line(*cells: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _write(
    name: str, dataset: str, head: str, lines: Iterable[tuple[str, str]], encoding: str = "utf-8"
) -> dict[str, object]:
    found = list(lines)
    text = head + "".join(line for line, _ in found)
    (HERE / name).write_text(text, encoding=encoding, newline="")
    outcomes = Counter(outcome for _, outcome in found if outcome)
    counts = {
        f"rows_{kind}": outcomes[kind]
        for kind in ("inserted", "updated", "unchanged", "duplicate", "rejected")
    }
    return {
        "dataset": dataset,
        "expected": {"status": "completed", "rows_processed": outcomes.total()} | counts,
    }


if __name__ == "__main__":
    main()
