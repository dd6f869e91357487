"""How a file is written, found from its first bytes, with the reasons."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from shared.contracts.dialect import Dialect, DialectExplanation, Encoding
from shared.reading.encoding import EncodingEvidence, mark_of, utf16_without_mark
from shared.reading.errors import FileEmpty, HeaderMissing
from shared.reading.evidence import explanation_of
from shared.reading.foreign import refuse_binary, refuse_foreign
from shared.reading.header import ColumnSpec, known_names
from shared.reading.overrides import DialectOverrides
from shared.reading.preamble import TableStart, find_table
from shared.reading.ranking import ranked_candidates
from shared.reading.scoring import Score

__all__ = ["HEAD_BYTES", "Detected", "Dialect", "DialectOverrides", "detect"]

HEAD_BYTES = 1 << 18  # a preamble and some thousand records: read in one go, looked at in milliseconds

_SAMPLE_CHARS = 1 << 15  # of it that candidates are tried on: some hundred records
_SAMPLE_LINES = 50  # at least, where lines are very long
_NOTHING_GIVEN = DialectOverrides()
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found.

    Attributes:
        dialect: How to read the file.
        explanation: Why so; its last reason is that of the encoding.
        width: Cells of most records of the sample.
        encoding_is_open: Whether the encoding rests on the head alone, so that the rest of the file may correct it
            (`EncodingEvidence`); delimiters and positions are the same in all encodings it may become.
    """

    dialect: Dialect
    explanation: DialectExplanation
    width: int
    encoding_is_open: bool

    def with_encoding_of(self, evidence: EncodingEvidence) -> "Detected":
        """The same, corrected by evidence over the whole file where the encoding is open."""
        if not self.encoding_is_open:
            return self
        return replace(
            self,
            dialect=self.dialect.model_copy(update={"encoding": evidence.encoding}),
            explanation=self.explanation.model_copy(
                update={"reasons": (*self.explanation.reasons[:-1], evidence.reason)}
            ),
        )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The head behind its byte order mark, as text that encodes to the same bytes again."""

    text: str
    encoding: Encoding
    mark_bytes: int
    is_open: bool
    reason: str

    def bytes_before(self, char: int) -> int:
        """Bytes of the file before this character of the text."""
        errors = "surrogatepass" if self.encoding.startswith("utf-16") else "surrogateescape"
        return self.mark_bytes + len(self.text[:char].encode(self.encoding, errors))

    def lines_before(self, char: int) -> int:
        return len(_LINE_END.findall(self.text, 0, char))


def detect(
    head: bytes,
    *,
    complete: bool,
    given: DialectOverrides = _NOTHING_GIVEN,
    expected: Sequence[ColumnSpec] | None = None,
) -> Detected:
    """The dialect of the file that begins with `head`, its first `HEAD_BYTES` bytes at most.

    Args:
        head: The first bytes; more of them make a better guess.
        complete: Whether `head` is the whole file, so that its last line counts too.
        given: What need not be found, as the request says it.
        expected: The columns that the header should name, where the dataset is known.

    Raises:
        FileEmpty: there is no byte, or all are blank.
        FileNotText: it is a known binary format, or full of NUL bytes.
        EncodingUnsupported: it is marked as UTF-32.
        HeaderMissing: the first line does not end within `head`.
    """
    refuse_foreign(head)
    decoded = _decoded(head, complete=complete, given=given)
    skipped = _end_of_lines(decoded.text, given.skip_rows or 0)
    text = decoded.text[skipped:]
    if not text.strip():
        raise FileEmpty(
            f"The file has no records: behind {given.skip_rows} lines that are skipped there is nothing."
            if given.skip_rows and decoded.text.strip()
            else "The file has no records: it is empty or holds only blank lines.",
            hint="Check that the export finished, and send the file again.",
        )
    sample, sample_complete = _sample_of(text, complete=complete)
    ranked = ranked_candidates(sample, given, expected, complete=sample_complete)
    best = ranked[0]
    table = _table(best, given, expected)
    start = skipped + best.rows[table.row].start
    dialect = Dialect(
        encoding=decoded.encoding,
        delimiter=best.candidate.delimiter,
        quote=best.candidate.quote,
        escape=best.candidate.escape,
        header_rows=table.header_rows,
        start_byte=decoded.bytes_before(start),
        start_line=decoded.lines_before(start),
    )
    explanation = explanation_of(
        ranked,
        table,
        sample,
        given,
        encoding_reason=decoded.reason,
        lines_before=decoded.lines_before(skipped),
    )
    return Detected(dialect, explanation, best.width, decoded.is_open)


def _decoded(head: bytes, *, complete: bool, given: DialectOverrides) -> _Decoded:
    mark = mark_of(head)
    encoding, is_open, reason = _encoding(head, complete=complete, given=given)
    length = mark.length if mark and mark.encoding == encoding else 0
    body = head[length:]
    if encoding.startswith("utf-16"):
        return _Decoded(
            body[: len(body) & ~1].decode(encoding, "surrogatepass"), encoding, length, is_open, reason
        )
    refuse_binary(body)
    return _Decoded(body.decode(encoding, "surrogateescape"), encoding, length, is_open, reason)


def _encoding(head: bytes, *, complete: bool, given: DialectOverrides) -> tuple[Encoding, bool, str]:
    mark = mark_of(head)
    if given.encoding and given.encoding != "utf-16":
        return given.encoding, False, "The encoding was given."
    if mark:
        return mark.encoding, False, f"The file begins with the byte order mark of {mark.encoding.upper()}."
    if found := utf16_without_mark(head):
        return found, False, f"Every other byte is zero, as in {found.upper()}."
    if given.encoding == "utf-16":
        return "utf-16-le", False, "The encoding was given; no byte order mark tells its byte order."
    evidence = EncodingEvidence()
    evidence.feed(head)
    if complete:
        evidence.finish()
    return evidence.encoding, True, evidence.reason


def _end_of_lines(text: str, count: int) -> int:
    """Characters of the first `count` lines; of all, if there are fewer."""
    ends = [end.end() for end in islice(_LINE_END.finditer(text), count)]
    return (ends or [0])[-1] if len(ends) == count else len(text)


def _sample_of(text: str, *, complete: bool) -> tuple[str, bool]:
    """Whole lines from the text's beginning, and whether they are all of the file."""
    if len(text) > _SAMPLE_CHARS:
        ends = (end.end() for end in _LINE_END.finditer(text))
        end = next(
            (end for line, end in enumerate(ends, 1) if end > _SAMPLE_CHARS and line >= _SAMPLE_LINES), 0
        )
        if text[:end].strip():
            return text[:end], False
    if complete:
        return text, True
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    if not text[:end].strip():
        raise HeaderMissing(
            f"The first line does not end within {len(text)} characters, so it names no columns.",
            hint="Begin the file with one line that holds the column names.",
        )
    return text[:end], False


def _table(best: Score, given: DialectOverrides, expected: Sequence[ColumnSpec] | None) -> TableStart:
    known = partial(_names, expected) if expected and given.header_rows is None else None
    rows = [row.cells for row in best.rows]
    table = find_table(rows, best.width, names_known=known, skip=given.skip_rows is None)
    if given.header_rows is None:
        return table
    return replace(
        table, header_rows=given.header_rows, sureness=1.0, reason="The number of header rows was given."
    )


def _names(expected: Sequence[ColumnSpec], row: Sequence[str]) -> int:
    return known_names(row, expected)
