"""The measured files are what the figures say they are."""

import csv
from pathlib import Path

import pytest

from bench import files

ROWS = 4_100  # more than one turn of the pool of descriptions


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream, strict=True))


def keys(records: list[list[str]]) -> list[str]:
    return [record[0].lower() for record in records]


def test_products_have_unique_skus_in_mixed_case_and_no_order(tmp_path: Path) -> None:
    header, *records = read(files.products(tmp_path / "products.csv", ROWS))

    assert header == ["sku", "name", "description"]
    assert len(records) == len(set(keys(records))) == ROWS
    assert keys(records) != sorted(keys(records))
    assert any(sku.isupper() for sku, *_ in records)
    assert any(sku.islower() for sku, *_ in records)


def test_a_third_of_the_descriptions_is_quoted_and_needs_it(tmp_path: Path) -> None:
    path = files.products(tmp_path / "products.csv", ROWS)
    descriptions = [record[2] for record in read(path)[1:]]

    quoted = [text for text in descriptions if any(special in text for special in ',"\n')]
    assert len(quoted) / ROWS == pytest.approx(1 / 3, abs=0.02)
    for special in ',"\n':
        assert sum(special in text for text in quoted) > ROWS / 20, special


def test_a_product_has_the_size_that_goals_are_about(tmp_path: Path) -> None:
    size = files.products(tmp_path / "products.csv", 50_000).stat().st_size

    assert size / 50_000 == pytest.approx(files.PRODUCT_BYTES, rel=0.02)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (files.products(tmp_path / name, 100).read_bytes() for name in ("a.csv", "b.csv"))

    assert first == second


def test_another_edition_changes_every_record_and_no_sku(tmp_path: Path) -> None:
    before = read(files.products(tmp_path / "before.csv", ROWS))[1:]
    after = read(files.products(tmp_path / "after.csv", ROWS, edition=2))[1:]

    assert [sku for sku, *_ in before] == [sku for sku, *_ in after]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_another_range_has_other_skus(tmp_path: Path) -> None:
    low = read(files.products(tmp_path / "low.csv", 500))[1:]
    high = read(files.products(tmp_path / "high.csv", 500, first=500))[1:]

    assert set(keys(low)).isdisjoint(keys(high))


def test_products_of_a_size_are_about_that_size(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"

    rows = files.products_of_bytes(path, 1_000_000)

    assert path.stat().st_size == pytest.approx(1_000_000, rel=0.05)
    assert len(read(path)) == rows + 1


def test_every_bad_record_breaks_a_rule(tmp_path: Path) -> None:
    header, *records = read(files.bad_products(tmp_path / "bad.csv", ROWS))

    assert len(records) == ROWS
    assert all(len(record) != len(header) or "" in record[:2] for record in records)


def test_books_have_different_valid_isbns(tmp_path: Path) -> None:
    header, *records = read(files.books(tmp_path / "books.csv", ROWS))

    isbns = {record[2] for record in records}
    assert {len(record) for record in records} == {len(header)}
    assert len(isbns) == ROWS
    assert all(is_isbn_13(value) for value in isbns)


def is_isbn_13(value: str) -> bool:
    weighted = sum(int(digit) * weight for digit, weight in zip(value, [1, 3] * 6 + [1], strict=True))
    return value.startswith("978") and weighted % 10 == 0
