"""Suppliers as CSV files list them."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.suppliers.listing import read_listing
from shared.reading.errors import FileEmpty, FileNotText, HeaderColumnMissing, HeaderMissing

UGLY = (
    "Supplier-ID;NAME;Partner;Active;remark\r\n"
    '17;"Bücher; Köln & Söhne";Groß;ja;\r\n'
    "acme/books; Acme Books ;;no;x\r\n"
    ";Nobody;;1;\r\n"
    '18;"Zweite\r\nZeile";;1;\r\n'
    "17;Again;;1;\r\n"
    "19;Short\r\n"
    "20;Long;;1;;more\r\n"
    "x/days;Not addressable;;1;\r\n"
    f"21;{'n' * 256};;true;\r\n"
    "22;Last;;;\r\n"
)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
def test_an_ugly_file_gives_what_is_right_and_says_what_is_not(encoding):
    listing = read_listing(UGLY.encode(encoding))
    assert {key: new.model_dump(exclude_unset=True) for key, new in listing.suppliers.items()} == {
        "acme/books": {"id": "acme/books", "name": "Acme Books", "partner": None, "enabled": False},
        "17": {"id": "17", "name": "Again", "partner": None, "enabled": True},
        "22": {"id": "22", "name": "Last", "partner": None},
    }
    assert [(error.line, error.column, error.code) for error in listing.errors] == [
        (2, "enabled", "not_a_boolean"),
        (4, "id", "value_missing"),
        (5, "name", "value_invalid"),
        (8, None, "missing_cell"),
        (9, None, "extra_cell"),
        (10, "id", "value_invalid"),
        (11, "name", "value_too_long"),
    ]
    assert listing.rejected == 7


def test_an_id_that_comes_again_is_told_with_its_first_line():
    listing = read_listing(b"id,name\n1,A\n2,B\n1,C\n")
    assert [new.name for new in listing.suppliers.values()] == ["A", "B"]
    assert [(error.line, error.code, error.message) for error in listing.errors] == [
        (4, "duplicate_key", "'1' is in line 2 already")
    ]


def test_what_a_file_does_not_say_is_not_set():
    [new] = read_listing(b"name\tid\nAcme\t1\n").suppliers.values()
    assert new.model_fields_set == {"id", "name"}


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"", FileEmpty),
        (b"PK\x03\x04" + bytes(range(256)) * 4, FileNotText),
        (b"id,partner\n1,Acme\n", HeaderColumnMissing),
        (b"title,author\nMomo,Ende\nRonja,Lindgren\n", HeaderMissing),
    ],
)
def test_a_file_that_lists_no_suppliers_is_refused(file, error):
    with pytest.raises(error):
        read_listing(file)


# Beside an accented letter a plain one, as words have it; of others alone nobody can tell which code page they are in.
_LETTERS = st.sampled_from([*"abcdefg XYZ&.-'/", "äb", "öc", "üd", "ße"])
WORDS = st.lists(_LETTERS, min_size=1, max_size=20).map("".join).map(str.strip).filter(bool)
IDS = st.text("abcXYZ0123456789_", min_size=1, max_size=10)


@given(
    suppliers=st.dictionaries(IDS, st.tuples(WORDS, WORDS | st.just(""), st.booleans()), min_size=2),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
)
@settings(max_examples=60, deadline=None)
def test_what_was_written_is_read(suppliers, delimiter, line_end, encoding):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["id", "name", "partner", "enabled"])
    writer.writerows([key, name, partner, enabled] for key, (name, partner, enabled) in suppliers.items())
    listing = read_listing(out.getvalue().encode(encoding))
    found = {key: (new.name, new.partner or "", new.enabled) for key, new in listing.suppliers.items()}
    assert (found, listing.errors) == (suppliers, [])
