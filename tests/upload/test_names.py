"""What a file's name says."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.names import EXTENSIONS, base_name, check_extension, printable
from shared.contracts.problems import UnsupportedMedia


@pytest.mark.parametrize(
    "name",
    [
        *(f"books.{extension}" for extension in EXTENSIONS),
        *(f"BOOKS.{extension.upper()}.GZ" for extension in EXTENSIONS),
        "books",
        "",
        "books.gz",
        ".hidden",
        "export.20240131",
        "export.001",
        "version 1.2 of books.csv",
        r"C:\partner.old\books.csv",
        "folder.xlsx/books",
        "books.",
    ],
)
def test_a_name_that_a_csv_file_may_have(name):
    check_extension(name)


@pytest.mark.parametrize(
    "name",
    [
        "books.xlsx",
        "books.XLS",
        "books.csv.zip",
        "books.pdf",
        "books.json.gz",
        "a.csv.exe",
        "b.parquet",
        "x.html",
    ],
)
def test_a_name_that_says_it_is_something_else(name):
    with pytest.raises(UnsupportedMedia) as caught:
        check_extension(name)
    assert caught.value.code == "extension_unsupported"
    assert ".csv" in caught.value.hint


@given(st.text())
def test_any_name_is_judged_and_shown(name):
    with suppress(UnsupportedMedia):
        check_extension(name)
    assert printable(base_name(name)).isprintable() or not printable(base_name(name))
