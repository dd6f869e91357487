"""Which errors belong together."""

import pytest

from services.notifier.investigations.grouping import fingerprint, from_import, normalised
from tests.notifier.given import completed, failed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 12 of 300 has no price", "row 7 of 1,250 has no price"),
        ("cannot open /in/a/2026-01-03.csv", "cannot open /in/b/2026-02-04.csv"),
        (r"cannot open C:\in\a.csv", r"cannot open D:\out\b.csv"),
        ("attachment Preise_a.xlsx is empty", "attachment Preise_b.xlsx is empty"),
        ("job 1f81eb52-5198-4599-803e-771906343485 died", "job 01890a5d-ac96-774b-bcce-b302099a8057 died"),
        ("hash d41d8cd98f00b204e9800998ecf8427e differs", "hash 900150983cd24fb0d6963f7d28e17f72 differs"),
        ("No  Price", " no price\n"),
        ("took 12:30:01.5", "took 1.5"),
    ],
)
def test_what_only_varies_is_one_group(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("no price", "no name"), ("column price is empty", "column name is empty"), ("", "no price")],
)
def test_what_differs_in_kind_is_not(one, other):
    assert normalised(one) != normalised(other)


def test_supplier_stage_and_reason_separate():
    base = ("acme", "load_ftp", "file_read", "no such file")
    variants = [("other", *base[1:]), (None, *base[1:]), ("acme", "load_mail", *base[2:])]
    variants += [("acme", "load_ftp", "file_format", base[3]), ("acme", "load_ftpfile_read", "", base[3])]
    found = {fingerprint(*values) for values in (base, *variants)}
    assert len(found) == 6
    assert fingerprint(*base).startswith("v1:")


def test_a_long_word_is_no_trouble():
    assert len(normalised("a" * 100_000)) == 500


def test_a_clean_import_reports_nothing():
    assert from_import(completed()) is None


def test_imports_with_row_errors_of_one_source_and_dataset_are_one_group():
    one = from_import(completed(rows_rejected=2, rows_inserted=8))
    other = from_import(completed(rows_duplicate=1, rows_inserted=9, file_name="other.csv"))
    assert one is not None
    assert other is not None
    assert one.fingerprint == other.fingerprint
    assert one.summary == "2 rejected of 10 records in Bücher März.csv"
    assert other.summary == "0 rejected and 1 duplicate of 10 records in other.csv"
    assert (one.stage, one.reason, one.supplier) == ("process", "row_errors", "acme-books")


def test_a_dry_run_reports_nothing():
    assert from_import(completed(rows_rejected=2, rows_inserted=8, dry_run=True)) is None
    assert from_import(failed(dry_run=True)) is None
    assert from_import(failed()) is not None


def test_an_overwritten_duplicate_is_no_row_error():
    assert from_import(completed(dataset="products", rows_inserted=9, rows_duplicate=1)) is None
    mixed = from_import(
        completed(dataset="products", rows_inserted=8, rows_duplicate=1, rows_rejected=1, file_name="p.csv")
    )
    assert mixed is not None
    assert mixed.summary == "1 rejected of 10 records in p.csv"


def test_a_dataset_of_a_newer_sender_reports_its_duplicates():
    assert from_import(completed(dataset="tractors", rows_inserted=9, rows_duplicate=1)) is not None


def test_failures_are_grouped_by_their_code():
    one, other, third = (
        from_import(failed(error_message="byte 1")),
        from_import(failed(error_message="byte 2", file_name="other.csv")),
        from_import(failed(error_code="source_missing")),
    )
    assert one
    assert other
    assert third
    assert one.fingerprint == other.fingerprint != third.fingerprint
    assert one.reason == "import_failed"
