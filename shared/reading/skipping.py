"""The end of a record that is too large to be held: found in a stream of any length, at constant memory."""

import re

from shared.contracts.dialect import Dialect
from shared.reading.structure import Structure, line_ends, quotes_stand_alone


class RecordEnd:
    """Finds where one record ends, by the rules of `split_lines`, in its structure text fed in pieces of any size.

    A piece must not end between the CR and the LF of one line end.
    """

    def __init__(self, dialect: Dialect, structure: Structure) -> None:
        self._quote = structure.quote
        self._around = frozenset((structure.delimiter,))
        self._is_plain = len(structure.delimiter) == len(self._quote) == 1 and dialect.escape == dialect.quote
        self._quoted = False
        self._at_start = bool(self._quote)
        self._undecided = ""  # the end of the last piece; it holds no line end
        self._sought = _outside_quotes(structure)
        self._plain = _inside_quotes(structure, doubled=bool(dialect.escape)) if self._quote else None
        self._sign_length = (
            len(structure.delimiter + self._quote) if self._quote else len(structure.escape) + 1
        )

    def find(self, piece: str) -> int | None:
        """Characters of `piece` up to the end of the record, its line end included; None if it goes on behind."""
        text = self._undecided + piece
        if self._is_plain and self._passes_over(text):
            return None
        position: int | None = 0
        while position is not None:
            if self._quoted:
                position = self._leave_quotes(text, position)
                continue
            if self._at_start and text.startswith(self._quote):
                self._at_start, self._quoted, position = False, True, len(self._quote)
                continue
            if self._at_start and self._quote.startswith(text):
                self._undecided = text
                return None
            self._at_start = False
            found = self._sought.search(text, position)
            if found is None:
                self._undecided = text[max(position, len(text) - self._sign_length + 1) :]
                return None
            if found["line_end"]:
                return found.end() - len(text) + len(piece)
            self._quoted, position = bool(self._quote), found.end()
        return None

    def _passes_over(self, text: str) -> bool:
        """Whether `text` holds nothing but regular fields of the record, which is told of all of it at once."""
        last = self._quote * text.endswith(self._quote)  # it may be half of a doubled one
        pieces = text.removesuffix(self._quote).split(self._quote)
        outside = pieces[self._quoted :: 2]
        ends_quoted = self._quoted ^ (len(pieces) % 2 == 0)
        before = outside if ends_quoted else outside[:-1]
        behind = outside if self._quoted else outside[1:]
        if not pieces[-1] or not (self._quoted or self._at_start or pieces[0]):
            return False
        if line_ends("".join(outside)) or not quotes_stand_alone(before, behind, self._around):
            return False
        self._at_start, self._quoted = False, ends_quoted
        self._undecided = last if ends_quoted else pieces[-1][-1] + last
        return True

    def _leave_quotes(self, text: str, position: int) -> int | None:
        """Behind the closing quote; None if it is not in `text`, or cannot be told from a doubled one yet."""
        assert self._plain is not None
        rest = self._plain.match(text, position)
        assert rest is not None  # it matches nothing as well
        position = rest.end()
        if not text.startswith(self._quote, position) or (self._quote * 2).startswith(text[position:]):
            self._undecided = text[position:]
            return None
        self._quoted = False
        return position + len(self._quote)


def _outside_quotes(structure: Structure) -> re.Pattern[str]:
    """What matters outside quotes: a line end, a quoted field's start, an escape where nothing is quoted."""
    delimiter, quote, escape = map(re.escape, (structure.delimiter, structure.quote, structure.escape))
    other = f"|{delimiter}{quote}" if quote else rf"|{escape}(?:\r\n|[\s\S])" if escape else ""
    return re.compile(rf"(?P<line_end>\r\n|\r|\n){other}")


def _inside_quotes(structure: Structure, *, doubled: bool) -> re.Pattern[str]:
    """All that does not end a quoted field."""
    quote, escape = map(re.escape, (structure.quote, structure.escape))
    special = re.escape(structure.quote[0] + structure.escape[:1])
    parts = [f"[^{special}]++"]
    if doubled:
        parts.append(quote * 2)
    if escape:
        parts.append(rf"{escape}[\s\S]")
    # A quote of several bytes may begin at the end of a piece.
    begun = "".join(rf"|{re.escape(structure.quote[:length])}\Z" for length in range(1, len(structure.quote)))
    parts.append(rf"(?!{quote}{begun}{f'|{escape}' if escape else ''})[\s\S]")
    return re.compile(f"(?:{'|'.join(parts)})*+")
