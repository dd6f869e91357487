import csv
import io

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.reading.dialect import HEAD_BYTES, DialectOverrides, detect
from shared.reading.errors import EncodingUnsupported, FileEmpty, FileNotText, HeaderMissing
from shared.reading.header import columns_of
from shared.reading.records import RecordReader


def detected(head, *, complete=True):
    return detect(head, complete=complete).dialect


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
        (b"date;time;price\n2024-01-31;10:15:00;1,50\n2024-02-01;11:20:30;2,75\n", ";"),
        (b"first last city\nAda Byron London\nAlan Turing Wilmslow\n", " "),
        (b"city:region:people\nBonn:NRW:330000\nUlm:BW:126000\n", ":"),
        (b"id^name^price\n1^Bolt, long^2.50\n2^Nut^0.10\n", "^"),
        (b"id~name\n1~Bolt\n2~Nut\n", "~"),
        (b"id#name\n1#Bolt\n2#Nut\n", "#"),
        (b"id&name\n1&Bolt\n2&Nut\n", "&"),
        (b"id||name||price\n1||Bolt||2\n2||||3\n", "||"),
        (b'id, name, price\n1, "Bolt, long", 2\n2, Nut, 3\n', ", "),
        (b"id|~|name\n1|~|Bolt\n2|~|Nut\n", "|~|"),
        (b"id\x1fname\n1\x1fBolt\n2\x1fNut\n", "\x1f"),
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
@settings(max_examples=500, deadline=None)
def test_a_quoted_table_shows_its_delimiter(delimiter, rows):
    text = io.StringIO(newline="")
    header = [f"column {index}" for index in range(len(rows[0]) if rows else 3)]
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    assert detected(text.getvalue().encode()) == Dialect(delimiter=delimiter)


@pytest.mark.parametrize(
    ("text", "quote", "escape"),
    [
        ('name,note\n"a","5"" pipe"\n"b",c\n', '"', '"'),
        ('name,note\n"a","5\\" pipe, long"\n"b","x \\"y\\", z"\n"c","d"\n', '"', "\\"),
        ('name,path\n"a","C:\\temp\\"\n"b","D:\\"\n', '"', '"'),
        ('name,note\n"a","5" pipe"\n"b","6" pipe, long"\n"c","7" or 8" pipe"\n', '"', ""),
        ("name,note\n'a','x, y'\n'b','y, z'\n", "'", "'"),
        ("name,note\nMen's,Bob's\nWomen's,Ann's\n", '"', '"'),
        ("name,note\n'Men''s','a, b'\n'Women''s','c, d'\n", "'", "'"),
    ],
    ids=[
        "doubled",
        "backslash",
        "backslashes that escape nothing",
        "quotes that are not escaped",
        "apostrophes enclose",
        "apostrophes do not",
        "doubled apostrophes",
    ],
)
def test_quotes_and_escapes(text, quote, escape):
    found = detected(text.encode())
    assert (found.quote, found.escape) == (quote, escape)


def test_two_apostrophes_alone_are_no_quotes():
    found = detect(b"name,note,number\n,,0\n,:',0\n,'',0\n", complete=True)
    assert found.dialect.quote == '"'


def test_a_record_cut_at_the_end_of_the_head_is_not_compared():
    head = b'a,b;c\n1,2\n1,2\n1,"x\ny;' + b"z\n" * 5
    assert detected(head, complete=False).delimiter == ","


def test_a_cell_longer_than_the_sample_hides_nothing():
    prose = "Some words, and more; as a text has them.\n" * 5_000
    head = f'description,status\n"{prose}",new\n'.encode()
    assert detected(head[:HEAD_BYTES], complete=False) == Dialect()


@pytest.mark.parametrize(
    "head", [b"", b"\n\r\n", b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\xff\xfe"]
)
def test_a_file_without_records_is_empty(head):
    with pytest.raises(FileEmpty) as caught:
        detected(head)
    assert caught.value.code == "file_empty"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04\x14\0", "a ZIP archive or an Excel workbook (.xlsx)"),
        (b"PK\x03\x04 and nothing but ASCII", "a ZIP archive"),
        (b"PK\x03\x04\x14\0[Content_Types].xml...xl/workbook.xml", "The file is an Excel workbook (.xlsx)"),
        (b"PK\x03\x04\x14\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "(.ods)"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "old Excel workbook (.xls)"),
        (b"\x89PNG\r\n\x1a\n\0", "PNG"),
        (b"PAR1\x15\0\x15", "Parquet"),
        (b"BZh91AY&SY\xff\x80", "bzip2"),
        (b"a\0b\n", "NUL"),
        (b"\x01\x02\n" + b"\0\n" * 9, "NUL"),
    ],
)
def test_what_is_no_text_is_named(head, kind):
    with pytest.raises(FileNotText) as caught:
        detected(head)
    assert caught.value.code == "file_not_text"
    assert kind in caught.value.message + caught.value.hint


def test_text_that_begins_like_a_binary_format_is_text():
    assert detected(b"PAR1,BZh\n1,2\n") == Dialect()


def test_a_single_nul_byte_is_left_to_its_record():
    assert detected(b"name\na\0\nb\n") == Dialect()


def test_utf_32_is_refused_by_name():
    with pytest.raises(EncodingUnsupported) as caught:
        detected("name,sku\n".encode("utf-32"))
    assert caught.value.code == "encoding_unsupported"
    assert "UTF-32" in caught.value.message
    assert "UTF-8" in caught.value.hint


def test_a_first_line_longer_than_the_head_is_no_header():
    with pytest.raises(HeaderMissing):
        detected(b"x" * HEAD_BYTES, complete=False)
    assert detected(b"x" * HEAD_BYTES) == Dialect()


def test_a_dialect_travels_as_json():
    dialect = Dialect(encoding="cp1252", delimiter="\t")
    assert Dialect.model_validate_json(dialect.model_dump_json()) == dialect


PRICES = st.decimals(0, 10_000, places=2).map(str)
DATES = st.dates().map(str)
TEXTS = st.text(st.sampled_from([*"abcdefgh ABC 12,;|\"'-.\n\té€"]), min_size=1, max_size=30).filter(
    lambda text: any(letter.isalpha() for letter in text)
)
WORDS = st.sampled_from(["Bolt", "Nut, large", 'Pipe 5"', "Men's boots", "Plain; simple", "two\nlines", ""])
CODES = st.from_regex(r"[A-Z]{2}-[0-9]{3,5}", fullmatch=True)
NAMES = ["sku", "name", "price", "added on", "description", "Stock_Quantity"]


@st.composite
def tables(draw, delimiters=(",", ";", "\t", "|"), least_width=2):
    """A realistic file as `csv.writer` writes it, and what it says."""
    width = draw(st.integers(least_width, 6))
    kinds = draw(
        st.lists(st.sampled_from([PRICES, DATES, TEXTS, WORDS, CODES]), min_size=width, max_size=width)
    )
    rows = draw(st.lists(st.tuples(*kinds), min_size=3, max_size=12))
    delimiter = draw(st.sampled_from(delimiters))
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=line_end).writerows(
        [NAMES[:width], *rows]
    )
    return delimiter, [list(row) for row in rows], text.getvalue()


@given(tables())
@settings(max_examples=500, deadline=None)
def test_a_normal_file_is_never_misread(table):
    delimiter, rows, text = table
    # A blank record and one of a single quoted cell cannot be told from a blank line, which is passed over.
    assume(all(any(row) for row in rows))
    found = detected(text.encode())
    assert found == Dialect(delimiter=delimiter)


@given(st.lists(st.one_of(PRICES, CODES, WORDS.filter(bool)), min_size=3, max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_file_of_one_column_is_one(values):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["stock_code"], *([value] for value in values)])
    found = detect(text.getvalue().encode(), complete=True)
    assert found.dialect == Dialect()
    assert found.width == 1


@given(st.binary(max_size=2000), st.booleans())
@settings(max_examples=500, deadline=None)
def test_hostile_bytes_are_refused_or_read(head, complete):
    try:
        found = detect(head, complete=complete)
    except (FileEmpty, FileNotText, EncodingUnsupported, HeaderMissing):
        return
    assert found.dialect.start_byte <= len(head)
    assert found.explanation.model_dump_json()


@given(st.text(st.sampled_from([*'""\',;\\\n\ra b1']), max_size=400))
@settings(max_examples=500, deadline=None)
def test_hostile_quotes_are_read(text):
    try:
        detect(text.encode(), complete=True)
    except (FileEmpty, HeaderMissing):
        return


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"delimiter": "semicolon"}, {"delimiter": ";"}),
        ({"delimiter": "\\t"}, {"delimiter": "\t"}),
        ({"quote": "none"}, {"quote": ""}),
        ({"quote": "single", "escape": "doubled"}, {"quote": "'", "escape": "'"}),
        ({"escape": "backslash"}, {"escape": "\\"}),
        ({"encoding": "Windows-1252"}, {"encoding": "cp1252"}),
        ({"encoding": "ISO 8859-1"}, {"encoding": "latin-1"}),
        ({"header_rows": 0}, {"header_rows": 0}),
        ({"skip_rows": 1}, {"start_line": 1, "start_byte": 9, "header_rows": 0}),
        ({"skip_rows": 3}, {"start_line": 3, "start_byte": 17, "header_rows": 0}),
    ],
)
def test_what_is_given_is_not_found(given_, expected):
    found = detect(b"name,sku\na,1\nb,2\nc,3\n", complete=True, given=DialectOverrides(**given_))
    assert {name: getattr(found.dialect, name) for name in expected} == expected
    assert set(found.explanation.given) == set(given_)


def test_all_lines_may_not_be_skipped():
    with pytest.raises(FileEmpty):
        detect(b"a,b\r\n1,2\r\n", complete=True, given=DialectOverrides(skip_rows=3))


@pytest.mark.parametrize(
    "wrong",
    [{"delimiter": "\n"}, {"quote": "ab"}, {"encoding": "klingon"}, {"header_rows": -1}, {"skip_rows": -1}],
)
def test_what_cannot_be_given_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DialectOverrides(**wrong)


@given(
    sample=st.lists(st.text("ab1 ,;\t|\"'\\#~^&*[]-.+?${}()\n", max_size=30), min_size=1, max_size=6).map(
        "\n".join
    ),
    delimiter=st.none() | st.text(",;|\"'\\#^*[]-. ", min_size=1, max_size=3),
    quote=st.none() | st.sampled_from(["", '"', "'", "#", "^", "*", "[", "]", "-", "\\", "a", ",", "none"]),
    escape=st.none() | st.sampled_from(["", "\\", "doubled", "^", "*", "]", "-", ",", '"']),
)
@example(sample='"a\\"b"\\b\n' * 10, delimiter="\\", quote=None, escape=None)
def test_whatever_signs_are_given_a_dialect_has_them_or_the_request_is_wrong(
    sample, delimiter, quote, escape
):
    try:
        overrides = DialectOverrides(delimiter=delimiter, quote=quote, escape=escape)
    except ValueError:
        return
    content = f"name,sku\n{sample}\n".encode()
    dialect = detect(content, complete=True, given=overrides).dialect
    assert delimiter is None or dialect.delimiter == overrides.delimiter
    assert quote is None or dialect.quote == overrides.quote
    reader = RecordReader(dialect)
    assert sum(len(batch) for batch in [*reader.feed(content), *reader.finish()])


def test_a_file_with_every_sign_in_it_is_looked_at_all_the_same():
    content = b"quotenumber,linenumber,\r|\n\x85\x1f\n\x1f,\t,,;\n\x1f\xed"
    assert detect(content, complete=True, expected=columns_of(datasets()["quotes"])).dialect


def test_the_lines_that_decided_can_be_stored():
    content = b"sku,name,extra\nA1,x,y\0z\n" + b"A2,x,y\n" * 5
    lines = detect(content, complete=True).explanation.lines
    assert lines
    assert not any("\0" in line.text for line in lines)
