"""What Penstock is compared with does what Penstock does: else the comparison says nothing."""

from pathlib import Path

import pytest

from bench import by_hand, files, naive
from bench.bench import execute, value_of


@pytest.fixture
def url(database_url: str) -> str:
    """A migrated database with the copy of Penstock's table."""
    by_hand.create_table(database_url)
    return database_url


@pytest.mark.parametrize("program", ["psql", "asyncpg"])
def test_the_merge_by_hand_loads_every_product_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    if program == "asyncpg":
        monkeypatch.setattr(by_hand, "psql", lambda: None)
    for file in (
        files.products(tmp_path / "new.csv", 200),
        files.products(tmp_path / "changed.csv", 300, edition=2),
    ):
        by_hand.load(url, file)

    assert by_hand.tool().startswith(program)
    assert by_hand.count(url) == 300
    assert value_of(url, f"SELECT count(*) FROM {by_hand.TABLE} WHERE description LIKE '%/2.'") == 300


def test_the_naive_design_loads_every_product_once(url: str, tmp_path: Path) -> None:
    naive.load(url, files.products(tmp_path / "new.csv", 200))
    naive.load(url, files.products(tmp_path / "changed.csv", 300, edition=2))

    assert by_hand.count(url) == 300
    assert value_of(url, f"SELECT count(*) FROM {by_hand.TABLE} WHERE description LIKE '%/2.'") == 300


def test_a_merge_that_compares_writes_no_row_that_stays_the_same(url: str, tmp_path: Path) -> None:
    file = files.products(tmp_path / "new.csv", 200)
    rows = f"SELECT string_agg(xmin::text, ',' ORDER BY key) FROM {by_hand.TABLE}"
    by_hand.load(url, file)
    before = value_of(url, rows)

    by_hand.load(url, file, only_changed=True)
    assert value_of(url, rows) == before
    by_hand.load(url, file)
    assert value_of(url, rows) != before


def test_the_copy_has_the_indexes_constraints_and_parameters_of_the_table(database_url: str) -> None:
    execute(
        database_url,
        "ALTER TABLE data.products SET (fillfactor = 77)",
        "CREATE INDEX ON data.products (name)",
        "ALTER TABLE data.products ADD CHECK (sku <> 'no')",
    )
    shapes = [
        """SELECT array_agg(regexp_replace(indexdef, 'INDEX \\S+ ON \\S+', '') ORDER BY 1) FROM pg_indexes
           WHERE schemaname || '.' || tablename = '{}'""",
        "SELECT array_agg(pg_get_constraintdef(oid) ORDER BY 1) FROM pg_constraint WHERE conrelid = '{}'::regclass",
        "SELECT reloptions FROM pg_class WHERE oid = '{}'::regclass",
    ]

    by_hand.create_table(database_url)

    for shape in shapes:
        original, copy = (
            value_of(database_url, shape.format(name)) for name in ("data.products", by_hand.TABLE)
        )
        assert original
        assert copy == original
