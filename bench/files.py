"""The files that are measured: invented, realistic, and byte for byte the same in every run.

A product's number decides all of it, so that any range of numbers makes a file of its own, of any size, in little
memory. SKUs are unique ignoring case, in mixed case and no order; every third description is quoted, with commas,
line breaks or doubled quotes inside.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from pathlib import Path

PRODUCT_BYTES = 133.6  # a record on average
_PIECE = 20_000  # records written at once
_POOL = 4093  # prime, so that it runs through all names and descriptions in other pairs each time
_SCATTER = 2_654_435_761  # odd: multiplication modulo 2**32 gives each number another one (Knuth, 6.4)

_MATERIALS = [
    "Copper",
    "Oak",
    "Linen",
    "Steel",
    "Cork",
    "Wool",
    "Glass",
    "Bamboo",
    "Brass",
    "Felt",
    "Granite",
    "Paper",
    "Rubber",
    "Slate",
]
_THINGS = [
    "Kettle",
    "Desk Lamp",
    "Bookend",
    "Doorstop",
    "Water Bottle",
    "Tool Roll",
    "Coat Hook",
    "Planter",
    "Trivet",
    "Notebook",
    "Ladder",
    "Bread Board",
    "Pipe Clamp",
    "Watering Can",
    "Wall Clock",
    "Gate Valve",
    "Sluice Board",
    "Mill Brush",
    "Rain Gauge",
    "Pulley",
]
_USES = (
    "made to last and easy to mend",
    "for workshop and kitchen",
    "goes together without tools",
    "tested at the mill by people who use it all day",
    "mit Deckel und Rädern",
    "décoré à la main",
    "keeps its shape in rain and frost",
    "sold in packs of six",
)
_PREFIXES = (
    "WBH",
    "wbh",
    "Wbh",
    "TBL",
    "tbl",
    "tBl",
    "GATE",
    "gate",
    "Gate",
    "MILL",
    "mill",
    "K",
    "k",
    "Pn",
    "pN",
    "PN",
)
_NAMES = [f"{material} {thing}" for material, thing in product(_MATERIALS, _THINGS)]

_AUTHORS = (
    "Ada Abelsen",
    "Bruno Cavallin",
    '"Ekwall, Elif"',
    "Greta Grünwald",
    "Jonas Kéri",
    '"Łukasik, Oksana"',
)


def products(path: Path, rows: int, *, first: int = 0, edition: int = 1) -> Path:
    """Write the products `first` to `first + rows`; another edition has the same SKUs and changes every record."""
    names, descriptions = _NAMES, _descriptions()

    def record(number: int) -> str:
        head, tail = descriptions[(number * 31 + edition) % _POOL]
        return f"{_sku(number)},{names[number % len(names)]} {number % 97},{head} {number}/{edition}.{tail}\n"

    return _write(path, "sku,name,description\n", map(record, range(first, first + rows)))


def products_of_bytes(path: Path, size: int) -> int:
    """Write so many products that the file has about `size` bytes. Returns how many."""
    rows = int(size / PRODUCT_BYTES)
    products(path, rows)
    return rows


def bad_products(path: Path, rows: int) -> Path:
    """Write `rows` records, each with at least one row error: values that are missing, cells too few, too many."""
    descriptions = _descriptions()

    def record(number: int) -> str:
        head, tail = descriptions[number * 31 % _POOL]
        text = f"{head} {number}.{tail}"
        name = f"{_NAMES[number % len(_NAMES)]} {number % 97}"
        return _MISTAKES[number % len(_MISTAKES)](_sku(number), name, text)

    return _write(path, "sku,name,description\n", map(record, range(rows)))


def books(path: Path, rows: int) -> Path:
    """Write `rows` books with valid, different ISBNs; at most 1,000,000,000."""

    def record(number: int) -> str:
        title = f"The {_THINGS[number % 20]} of {_MATERIALS[number % 14]}, Part {number}"
        return f'"{title}",{_AUTHORS[number % len(_AUTHORS)]},{_isbn(number)},{1900 + number % 124}\n'

    return _write(path, "title,author,isbn,publication_year\n", map(record, range(rows)))


_MISTAKES: tuple[Callable[[str, str, str], str], ...] = (
    lambda _, name, text: f",{name},{text}\n",
    lambda sku, _, text: f"{sku},,{text}\n",
    lambda _, __, text: f",,{text}\n",
    lambda _, __, text: f"{text}\n",
    lambda sku, name, text: f"{sku},{name},{text},one cell too many\n",
)


def _sku(number: int) -> str:
    scattered = number * _SCATTER & 0xFFFF_FFFF
    digits = f"{scattered:08X}" if number & 1 else f"{scattered:08x}"
    return f"{_PREFIXES[(scattered >> 9) & 15]}-{digits}"


def _isbn(number: int) -> str:
    body = f"978{number * 999_999_937 % 1_000_000_000:09}"
    total = sum(map(int, body[::2])) + 3 * sum(map(int, body[1::2]))
    return f"{body}{-total % 10}"


def _descriptions() -> list[tuple[str, str]]:
    """How descriptions begin and end; what comes between tells them apart."""
    rng = random.Random(7)
    return [_description(rng, index) for index in range(_POOL)]


def _description(rng: random.Random, index: int) -> tuple[str, str]:
    use, other = rng.sample(_USES, 2)
    begin = use[0].upper() + use[1:]
    size = f"{rng.randint(1, 99)} x {rng.randint(1, 99)} cm"
    look = f"in {rng.choice(_MATERIALS).lower()}"
    if index % 3:
        return f"{begin}; {other}. Size {size}; {look}. Item", ""
    text = rng.choice(
        (
            f"{begin}, {other}. Size {size}, {look}, item",
            f"{begin}:\n- {other}\n- {size}\n- {look}\nItem",
            f'The ""{rng.choice(_MATERIALS)}"" line, {use}, {other}, {size}. Item',
        )
    )
    return f'"{text}', '"'


def _write(path: Path, header: str, records: Iterable[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        for piece in _pieces(records):
            file.write(piece)
    return path


def _pieces(records: Iterable[str]) -> Iterator[str]:
    records = iter(records)
    while piece := "".join(islice(records, _PIECE)):
        yield piece
