from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.skipping import RecordEnd
from shared.reading.splitting import split_lines
from shared.reading.structure import Structure
from tests.reading.tables import BLOCK_SIZES, blocks

DIALECTS = st.sampled_from(
    [
        Dialect(),
        Dialect(),
        Dialect(escape=""),
        Dialect(escape="\\"),
        Dialect(quote="", escape="\\"),
        Dialect(quote=""),
        Dialect(delimiter="<>"),
        Dialect(quote="é"),
        Dialect(encoding="utf-16-be", quote="é"),
    ]
)
TEXTS = st.lists(st.sampled_from(['"', '"', ",", "\n", "\r", "a", "\\", "é", "<", ">"]), max_size=40).map(
    "".join
)


def end_as_split(data, structure, dialect):
    lines = structure.lines(data)
    _, ends = split_lines(data.decode(dialect.encoding), len(lines), dialect)
    if not ends or not structure.text(lines[ends[0] - 1]).endswith(("\r", "\n")):
        return None
    return sum(map(len, lines[: ends[0]]))


def end_as_sought(data, structure, dialect, sizes):
    record_end = RecordEnd(dialect, structure)
    passed = held = ""
    for block in blocks(structure.text(data), sizes):
        piece = held + block
        held = "\r" if piece.endswith("\r") and len(passed + piece) < len(structure.text(data)) else ""
        length = record_end.find(piece.removesuffix(held))
        passed += piece.removesuffix(held)[:length]
        if length is not None:
            return structure.length(passed)
    return None


@given(TEXTS, DIALECTS, BLOCK_SIZES)
@example('<\\"\\\n\n"\n,<\n<,', Dialect(), [3])
@example('"a",",\r\n",b\nc', Dialect(), [4])
@settings(max_examples=3000, deadline=None)
def test_a_record_ends_where_it_does_when_it_is_split(text, dialect, sizes):
    structure, data = Structure(dialect), text.encode(dialect.encoding)
    assert end_as_sought(data, structure, dialect, sizes) == end_as_split(data, structure, dialect)
