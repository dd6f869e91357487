"""`penstock inspect`: how a file is read, why so, and what is in it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.inspecting import FAILED, READ, as_document, inspect
from shared.contracts.datasets import datasets
from shared.reading.overrides import DialectOverrides
from tests.cli.given import penstock

PRICES = """Price list of the mill;;

sku;name;price
A-1;Bolt;1,50
B-2;"Nut; long";2,50
C-3;Pipe
D-4;Gate;9,50;x
E-5;Wheel;7,50;
"""


def document(path: Path, content: bytes | str, dataset: str | None = None, **given_: Any) -> dict[str, Any]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return as_document(inspect(path, DialectOverrides(**given_), datasets()[dataset] if dataset else None))


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_bytes(PRICES.encode().replace(b"\n", b"\r\n"))

    done = penstock("inspect", file, "--dataset", "products")

    assert (done.returncode, done.stderr) == (READ, "")
    for text in (
        "UTF-8",
        "';' (semicolon)",
        "8 CRLF",
        "2 lines before the table",
        "3 columns: sku, name, price",
        "5 in 8 lines",
        "products: sku = column 1, name = column 2, price = column 3",
        "Nut; long",
        "1 record with missing_cell:",
        "record 3, line 6, byte",
        "1 record with extra_cell:",
        "record 4, line 7, byte",
        "Why so",
        "line 3: sku;name;price",
    ):
        assert text in done.stdout


def test_the_command_as_json(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(PRICES)
    done = penstock("inspect", file, "--json", "--header-rows", "1", "--delimiter", "semicolon")
    found = json.loads(done.stdout)
    assert found == json.loads(json.dumps(document(file, PRICES, header_rows=1, delimiter=";")))
    assert found["explanation"]["given"] == ["delimiter", "header_rows"]


def test_everything_is_in_the_document(tmp_path: Path) -> None:
    found = document(tmp_path / "prices.csv", PRICES)
    assert found["dialect"] == {
        "encoding": "utf-8",
        "delimiter": ";",
        "quote": '"',
        "escape": '"',
        "header_rows": 1,
        "start_byte": 26,
        "start_line": 2,
    }
    assert found["size"] == len(PRICES)
    assert (found["compression"], found["byte_order_mark"], found["preamble_lines"]) == (None, False, 2)
    assert found["line_ends"] == {"LF": 8, "CRLF": 0, "CR": 0}
    assert found["header"] == ["sku", "name", "price"]
    assert (found["records"], found["lines"]) == (5, 8)
    assert found["record_widths"] == {"3": 2, "4": 2, "2": 1}
    assert found["first_records"][1] == ["B-2", "Nut; long", "2,50"]
    assert found["problems"]["missing_cell"] == {
        "count": 1,
        "places": [
            {"record_number": 3, "line_number": 6, "byte_offset": 76, "message": "2 cells instead of 3"},
        ],
    }
    assert found["problems"]["extra_cell"]["count"] == 1, "empty cells behind the last column are none"
    assert found["further_table"] is None
    assert found["dataset"] is None


def test_a_packed_file_in_utf_16_with_a_mark(tmp_path: Path) -> None:
    text = "\ufefftitle\tyear\rMomo\t1973\r\n\r\nEmma\t1815\n"
    found = document(tmp_path / "a.csv.gz", gzip.compress(text.encode("utf-16-le")))
    assert (found["compression"], found["byte_order_mark"]) == ("gzip", True)
    assert (found["dialect"]["encoding"], found["dialect"]["delimiter"]) == ("utf-16-le", "\t")
    assert found["line_ends"] == {"LF": 1, "CRLF": 2, "CR": 1}
    assert (found["records"], found["lines"]) == (2, 4)


def test_faulty_records_and_where_they_are(tmp_path: Path) -> None:
    data = b"name,sku\n" + b"Bolt,1\n" * 20 + "Größe,2\n".encode() * 3 + b'N\xffut,3\nPi\0pe,4\n"Gate,5\n'
    found = document(tmp_path / "a.csv", data)
    assert {code: problem["count"] for code, problem in found["problems"].items()} == {
        "encoding_invalid": 1,
        "nul_byte": 1,
        "quote_unterminated": 1,
    }
    place = found["problems"]["nul_byte"]["places"][0]
    assert (place["record_number"], place["line_number"]) == (25, 26)
    assert data[place["byte_offset"] :].startswith(b"Pi\0pe")


def test_only_the_first_few_places_are_kept(tmp_path: Path) -> None:
    found = document(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 100 + "1\n" * 50)
    assert found["problems"]["missing_cell"]["count"] == 50
    assert len(found["problems"]["missing_cell"]["places"]) == 5


def test_a_further_table_is_told(tmp_path: Path) -> None:
    found = document(tmp_path / "a.csv", "a,b\n1,2\n3,4\n\nx,y,z\n1,2,3\n4,5,6\n")
    assert found["records"] == 2
    assert found["further_table"] == {"line_number": 5, "byte_offset": 13}
    assert found["lines"] == 7


def test_a_header_in_the_middle_is_told(tmp_path: Path) -> None:
    found = document(tmp_path / "a.csv", "a,b\n1,2\na,b\n3,4\n")
    assert found["records"] == 3
    assert found["problems"]["header_repeated"]["places"][0]["line_number"] == 3


@pytest.mark.parametrize(
    ("content", "dataset", "columns", "code"),
    [
        ("Stock Code,x\nA,1\n", "stock-codes", {"stock_code": 0}, None),
        ("AB-10\nAB-20\nAB-30\nAB-40\nAB-50\nAB-60\n", "stock-codes", {"stock_code": 0}, None),
        ("title,author\nMomo,Ende\n", "books", {}, "header_column_missing"),
        ("a,b\n1,2\n", "books", {}, "header_missing"),
    ],
)
def test_how_it_matches_a_dataset(
    tmp_path: Path, content: str, dataset: str, columns: dict[str, int], code: str | None
) -> None:
    found = document(tmp_path / "a.csv", content, dataset)["dataset"]
    assert found["name"] == dataset
    assert found["columns"] == columns
    assert (found["problem"] or {}).get("code") == code


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "The file has no records"), (b"%PDF-1.7 x", "a PDF document")]
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    done = penstock("inspect", file)
    assert done.returncode == FAILED
    assert reason in done.stderr
    assert done.stdout == ""


def test_a_dataset_that_there_is_not_is_a_wrong_call(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b\n")
    done = penstock("inspect", file, "--dataset", "nuts")
    assert done.returncode == 2
    assert "there are: books" in done.stderr
