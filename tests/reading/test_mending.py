import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.mending import is_regular, mended

COMMA = Dialect()
BACKSLASH = Dialect(escape="\\")
UNESCAPED = Dialect(escape="")


@pytest.mark.parametrize(
    ("text", "dialect", "regular"),
    [
        ("a,b\n", COMMA, True),
        ('"a","b ""c"""\r\n', COMMA, True),
        ('"a\nb",c', COMMA, True),
        ('"a"b,c\n', COMMA, False),
        ('a"b,c\n', COMMA, False),
        ('"a,b\n', COMMA, False),
        ('"a \\" b",c\n', BACKSLASH, True),
        ('"a "" b",c\n', UNESCAPED, False),
        ('"a" || "b"\n', Dialect(delimiter=" || "), True),
        ("'a','b'\n", Dialect(quote="'", escape="'"), True),
    ],
)
def test_what_is_regular(text, dialect, regular):
    assert is_regular(text, dialect) is regular


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ('"a,b,"c"\n', 3, [['"a', "b", "c"]]),
        ('a,""b, c",d\n', 3, [["a", '"b, c', "d"]]),
        ('a,"b "c", d",e\n', 3, None),
        ('a,"5" pipe, long",e\n', 3, [["a", '5" pipe, long', "e"]]),
        ('a,b,"\nc,d,e\nf,g,"h"\n', 3, [["a", "b", '"'], ["c", "d", "e"], ["f", "g", "h"]]),
        ('a,"b\nc,d\n"e",f\n', 2, [["a", '"b'], ["c", "d"], ["e", "f"]]),
        ('a,b "c" d,e\n', 3, [["a", 'b "c" d', "e"]]),
        ('"a,b\n', 5, None),
        ('"a\n', 1, [['"a']]),
    ],
    ids=[
        "opens a plain field",
        "opens a quoted field twice",
        "unclear",
        "inches in a quoted field",
        "opens the last field and takes lines in",
        "takes lines in until another quote",
        "quotes inside a plain field",
        "no reading has the width",
        "one column",
    ],
)
def test_a_stray_quote_is_data_where_that_gives_the_width(text, width, rows):
    assert mended(text, COMMA, width) == rows


def test_escapes_of_other_quotes_in_the_line_are_undone():
    assert mended('"a,"b \\" c",d\n', BACKSLASH, 3) == [['"a', 'b " c', "d"]]
    assert mended('"a,"b "" c",d\n', COMMA, 3) == [['"a', 'b " c', "d"]]
    assert mended('a,"b "" c",d\n', UNESCAPED, 3) == [["a", 'b "" c', "d"]]


@given(
    st.lists(st.text(st.sampled_from([*'ab ,"\n']), max_size=6), min_size=2, max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
@settings(max_examples=300)
def test_what_a_writer_wrote_by_the_rules_is_regular(row, quoting):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerow(row)
    assert is_regular(text.getvalue(), COMMA)


@given(st.text(st.sampled_from([*'ab,"\n\r']), max_size=60), st.integers(1, 5))
@settings(max_examples=500)
def test_mending_keeps_every_character_but_signs_and_never_fails(text, width):
    rows = mended(text, COMMA, width)
    if rows is None:
        return
    assert all(len(row) == width for row in rows)
    letters = "".join(filter(str.isalpha, text))
    assert "".join(filter(str.isalpha, "".join(map("".join, rows)))) == letters
