"""Every dialect that a sample allows, the best first."""

import re
from collections.abc import Callable, Sequence
from functools import partial

from shared.reading.candidates import (
    COMMON_DELIMITERS,
    Candidate,
    common_delimiters_in,
    longer_delimiters_in,
    may_be_single_quoted,
    rare_delimiters_in,
)
from shared.reading.header import ColumnSpec, known_names
from shared.reading.overrides import DialectOverrides
from shared.reading.scoring import Score, best_escape, score

__all__ = ["ranked_candidates"]

_CLEAR = 0.9  # evenness and wholeness of a common delimiter that make the rare ones not worth trying
_EVEN_COLUMN = 0.9  # share of lines without any comma for which one column is still a file of commas
_HEADER_WITHIN = 50  # records
_LINE_END = re.compile(r"\r\n|\r|\n")


def ranked_candidates(
    sample: str, given: DialectOverrides, expected: Sequence[ColumnSpec] | None, *, complete: bool
) -> list[Score]:
    """Never empty; the members that were given are as given in all of them.

    A candidate by which a record names more of the expected columns is better than all that name fewer.
    """
    lines = [line for line in _LINE_END.split(sample) if line.strip()]
    judge = partial(score, sample, complete=complete)

    def judged(delimiters: Sequence[str]) -> list[Score]:
        return [
            found
            for one in delimiters
            if given.signs.isdisjoint(one)
            for found in _judged(one, given, lines, judge)
        ]

    if given.delimiter:
        scores = judged([given.delimiter])
    else:
        # By a comma that is nowhere the file has one column, which others must do better than.
        scores = judged(list(dict.fromkeys([*common_delimiters_in(lines), ","])))
        clear = [found for found in scores if _is_clear(found)]
        rare = [] if clear else rare_delimiters_in(lines)
        scores += judged([*rare, *longer_delimiters_in(lines, [*_delimiters(clear or scores), *rare])])
    scores.sort(key=partial(_rank, expected), reverse=True)
    if scores[0].width == 1 and not given.delimiter:
        scores = _as_one_column(scores, judged)
    if given.escape is None:
        scores[0] = best_escape(sample, scores[0], complete=complete)
    return scores


def _judged(
    delimiter: str, given: DialectOverrides, lines: Sequence[str], judge: Callable[[Candidate], Score]
) -> list[Score]:
    """The scores of a delimiter, with the quotes worth trying."""
    if given.quote is not None:
        return [judge(Candidate(delimiter, given.quote, _escape(given.quote, given.escape)))]
    found = [judge(Candidate(delimiter, '"', _escape('"', given.escape)))]
    if not _is_clear(found[0]) and may_be_single_quoted(lines, delimiter):
        found.append(judge(Candidate(delimiter, "'", _escape("'", given.escape))))
    return found


def _escape(quote: str, given: str | None) -> str:
    return quote if given is None or given == "doubled" else given


def _delimiters(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(found.candidate.delimiter for found in scores))


def _is_clear(found: Score) -> bool:
    return found.width > 1 and found.evenness >= _CLEAR and found.wholeness >= _CLEAR


_NOWHERE = tuple("\x1f\x1e\x1d\x1c\x01\x02\x03\x04\x05\x06")  # in no text, but for a few of them


def _rank(expected: Sequence[ColumnSpec] | None, found: Score) -> tuple[int, float]:
    if not expected:
        return 0, found.value
    rows = (row.cells for row in found.rows[:_HEADER_WITHIN])
    return max((known_names(row, expected) for row in rows), default=0), found.value


def _as_one_column(scores: list[Score], judged: Callable[[Sequence[str]], list[Score]]) -> list[Score]:
    """A file of one column is read with a comma, unless commas are part of its values."""
    one_column = [found for found in scores if found.width == 1]
    with_comma = [found for found in one_column if found.candidate.delimiter == ","] or judged([","])
    if with_comma[0].width == 1 and with_comma[0].evenness >= _EVEN_COLUMN:
        best = with_comma[0]
    else:
        unused = [one for one in (*COMMON_DELIMITERS, *_NOWHERE) if one not in _delimiters(scores)]
        best = judged(unused)[0]
    return [best, *(found for found in scores if found.width > 1)]
