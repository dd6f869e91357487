import csv
import io

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.places import RegularPlaces
from shared.reading.splitting import split_lines, split_regular
from shared.reading.structure import Structure
from tests.reading.tables import DIALECTS, VALUES, File, files

BACKSLASH = Dialect(escape="\\", header_rows=0)
UNQUOTED = Dialect(quote="", escape="\\", header_rows=0)


def general(text, dialect):
    return split_lines(text, len(list(io.StringIO(text, newline=""))), dialect)


TEXTS = st.lists(st.sampled_from([*"\"',,;| \r\n\\aé", "\r\n", '","', '"\n"', "||"]), max_size=30).map(
    "".join
)


@given(TEXTS, DIALECTS)
@example('a,"b"\n"c\n""",d\n,"x"\n', Dialect())
@settings(max_examples=3000, deadline=None)
def test_regular_text_is_split_as_any_other(text, dialect):
    text += "\n"
    split = split_regular(text, dialect)
    if split is None:
        return
    cells, length, line_count = split
    rows, ends = general(text, dialect)
    assert cells.rows() == rows[: len(cells)]
    assert cells.columns() == [list(column) for column in zip(*rows[: len(cells)], strict=True)]
    lines = list(io.StringIO(text, newline=""))
    assert length == sum(map(len, lines[: ends[len(cells) - 1]])), "the last record is left"
    assert line_count == ends[len(cells) - 1]
    assert len(rows) == len(cells) or any(rows[len(cells)]), "which is not empty"


@given(files(even=True))
@settings(max_examples=300, deadline=None)
def test_most_tables_of_one_width_are_regular(file: File):
    encoding = file.dialect.encoding
    text = file.data[file.dialect.start_byte :].decode(encoding)
    records = [record for *_, record in file.records]
    assume(len(records) > 1 and all(map(any, records)) and text.endswith(("\r", "\n")))
    assume(file.dialect.quote or "\\" not in text)
    assume(records[-1] not in ([letter] for letter in '"\r\n') and len(records[0]) > 1)
    assume("".join(records[-1]).strip(file.dialect.delimiter + file.dialect.quote + "\r\n"))
    split = split_regular(text, file.dialect)
    assert split is not None
    cells, length, line_count = split
    assert cells.rows() == records[:-1]
    assert line_count == file.records[-1][0].line_number - file.dialect.start_line - 1
    places = RegularPlaces(file.dialect, file.dialect.start_byte, file.dialect.start_line + 1)
    found = places.found(text[:length].encode(encoding))
    expected = [(place.line_number, place.byte_offset, length) for place, length, _ in file.records[:-1]]
    lengths = [end - start for start, end in zip(found.offsets, found.ends, strict=True)]
    assert list(zip(found.line_numbers, found.offsets, lengths, strict=True)) == expected


@pytest.mark.parametrize(
    ("dialect", "text", "fields"),
    [
        (BACKSLASH, r'"a \"b\" c","\\"', ['a "b" c', "\\"]),
        (BACKSLASH, r'"C:\temp\new","\\server"', ["C:\\temp\\new", "\\server"]),
        (BACKSLASH, r"5\" pipe,C:\temp", ['5" pipe', "C:\\temp"]),
        (BACKSLASH, r"C:\dir\,b", ["C:\\dir\\", "b"]),
        (BACKSLASH, r'"a\\","b"', ["a\\", "b"]),
        (BACKSLASH, '"a""b"', ['a"b']),
        (BACKSLASH, r'"a"\b', ["a\\b"]),
        (Dialect(escape=""), '"a"b,"c"', ["ab", "c"]),
        (Dialect(escape=""), '"a""b"', ['a"b"']),
        (UNQUOTED, r"a\,b,c\\,\"d\",C:\temp", ["a,b", "c\\", '"d"', "C:\\temp"]),
        (UNQUOTED, "a\\\nb,\\\r\nc", ["a\nb", "\r\nc"]),
        (Dialect(quote=""), '"a,5""', ['"a', '5""']),
        (Dialect(quote="", escape=""), 'a\\,"b', ["a\\", '"b']),
        (Dialect(delimiter=", "), 'a, "b, c",d, ', ["a", "b, c,d", ""]),
        (Dialect(delimiter="||"), 'a|b||"c||d"|||', ["a|b", "c||d", "|"]),
        (Dialect(delimiter=" "), 'a  "b c"', ["a", "", "b c"]),
        (Dialect(quote="“"), "“a,b“,c", ["a,b", "c"]),
        (Dialect(), '"a"b,5" pipe', ["ab", '5" pipe']),
        (Dialect(), "\x1f,\x1e", ["\x1f", "\x1e"]),
    ],
)
def test_values_are_what_their_writer_had(dialect, text, fields):
    assert general(text + "\n", dialect)[0] == [fields]
    regular = split_regular(f"{text}\n{text}\nx\n", dialect)
    assert regular is None or regular[0].rows()[0] == fields


@given(
    st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=5),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    st.sampled_from([",", "\t"]),
)
@settings(max_examples=500, deadline=None)
def test_what_python_writes_with_escapes_comes_back(rows, quoting, delimiter):
    # It leaves a CR bare, which then is a line end.
    rows = [[value.replace("\r", "") for value in row] for row in rows]
    assume(quoting != csv.QUOTE_NONE or [""] not in rows)
    text = io.StringIO(newline="")
    csv.writer(
        text, delimiter=delimiter, quoting=quoting, escapechar="\\", doublequote=False, lineterminator="\n"
    ).writerows(rows)
    quote = "" if quoting == csv.QUOTE_NONE else '"'
    dialect = Dialect(delimiter=delimiter, quote=quote, escape="\\")
    assert general(text.getvalue(), dialect)[0] == rows


def test_a_sign_that_the_encoding_lacks_is_nowhere():
    structure = Structure(Dialect(encoding="latin-1", quote="“"))
    assert structure.quote not in structure.text(bytes(range(256)))
