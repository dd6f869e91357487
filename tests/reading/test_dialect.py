import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.dialect import HEAD_BYTES, detect
from shared.reading.errors import EncodingUnsupported, FileEmpty, FileNotText, HeaderMissing


def detected(head, *, complete=True):
    return detect(head, complete=complete)


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        (b"name,sku\na,1\n", ","),
        (b"name;price\na;1,50\nb;2,50\n", ";"),
        (b"name\tsku\na, b\t1\n", "\t"),
        (b"name|sku|note\na|1|x,y\n", "|"),
        (b'name,note\na,"x;y;z"\nb,"x;y;z"\n', ","),
        (b'"a;b","c;d"\n"1;2","3;4"\n', ","),
        (b"stock_code\nA1\nB2\n", ","),
        (b"stock_code\nA;1\nB;2\n", ","),
        (b"a,b,c\n1,2\n1,2,3\n1,2,3,4\n", ","),
        (b"name,sku", ","),
        (b"\n\nname;sku\n", ";"),
        (b"a;b\r1;2\r", ";"),
    ],
)
def test_the_delimiter_splits_the_header_and_most_evenly_the_rest(head, delimiter):
    assert detected(head).delimiter == delimiter


@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.integers(2, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.text("ab,;|\t\n\"'é", max_size=5), min_size=width, max_size=width), max_size=6
        )
    ),
)
def test_a_quoted_table_shows_its_delimiter(delimiter, rows):
    text = io.StringIO(newline="")
    header = [f"column {index}" for index in range(len(rows[0]) if rows else 3)]
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    assert detected(text.getvalue().encode()) == Dialect(delimiter=delimiter)


@pytest.mark.parametrize(
    ("head", "encoding", "bom"),
    [
        (b"name\nplain\n", "utf-8", 0),
        ("name\nGröße\n".encode(), "utf-8", 0),
        ("name\nGröße €\n".encode("cp1252"), "cp1252", 0),
        (b"\xef\xbb\xbfname\na\n", "utf-8", 3),
        (b"\xef\xbb\xbfname\n\xff\n", "utf-8", 3),
    ],
)
def test_encodings(head, encoding, bom):
    assert detected(head) == Dialect(encoding=encoding, bom=bom)


def test_a_character_cut_at_the_end_of_the_head_is_no_reason_to_doubt_utf8():
    head = "name\nx€".encode()[:-1]
    assert detected(head, complete=False).encoding == "utf-8"
    assert detected(head, complete=True).encoding == "cp1252", (
        "at the end of the file nothing speaks for UTF-8"
    )


def test_a_record_cut_at_the_end_of_the_head_is_not_compared():
    head = b'a,b;c\n1,2\n1,2\n1,"x\ny;' + b"z\n" * 5
    assert detected(head, complete=False).delimiter == ","


@pytest.mark.parametrize("head", [b"", b"\n\r\n", b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_records_is_empty(head):
    with pytest.raises(FileEmpty) as caught:
        detected(head)
    assert caught.value.code == "file_empty"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04\x14\0", "Excel workbook (.xlsx)"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "old Excel workbook (.xls)"),
        (b"\x89PNG\r\n\x1a\n\0", "PNG"),
        (b"a\0b\n", "NUL"),
        ("name,sku\na,1\n".encode("utf-16-le"), "UTF-16"),
        (b"\x01\x02\n" + b"\0\n" * 9, "NUL"),
    ],
)
def test_what_is_no_text_is_named(head, kind):
    with pytest.raises(FileNotText) as caught:
        detected(head)
    assert caught.value.code == "file_not_text"
    assert kind in caught.value.message + caught.value.hint


def test_a_single_nul_byte_is_left_to_its_record():
    assert detected(b"name\na\0\nb\n") == Dialect()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_unicode_encodings_are_refused_by_name(encoding):
    with pytest.raises(EncodingUnsupported) as caught:
        detected("name,sku\n".encode(encoding))
    assert caught.value.code == "encoding_unsupported"
    assert encoding.upper() in caught.value.message
    assert "UTF-8" in caught.value.hint


def test_a_first_line_longer_than_the_head_is_no_header():
    with pytest.raises(HeaderMissing):
        detected(b"x" * HEAD_BYTES, complete=False)
    assert detected(b"x" * HEAD_BYTES) == Dialect()


def test_a_dialect_travels_as_json():
    dialect = Dialect(encoding="cp1252", delimiter="\t")
    assert Dialect.model_validate_json(dialect.model_dump_json()) == dialect


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("Müller Größe\n".encode() * 20 + b"\xff\n", "utf-8"),
        ("Müller\n".encode() + b"\xff\n", "utf-8"),
        ("Müller Größe\n".encode("cp1252") * 20, "cp1252"),
        (b"name\n\xff\n", "cp1252"),
    ],
    ids=["one stray byte", "as many stray as right", "all of it Windows-1252", "nothing right"],
)
def test_a_stray_byte_does_not_change_the_encoding_of_the_whole_file(head, encoding):
    assert detect(b"name,x\n" + head, complete=True).encoding == encoding
