"""Why a dialect was chosen, in words and lines that a sender can check."""

from collections.abc import Sequence

from shared.contracts.dialect import DialectExplanation, EvidenceLine
from shared.reading.overrides import DialectOverrides
from shared.reading.preamble import TableStart
from shared.reading.scoring import Score

__all__ = ["delimiter_name", "explanation_of"]

_LINE_LENGTH_SHOWN = 120  # characters
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", ":": "colon"}


def explanation_of(
    ranked: Sequence[Score],
    table: TableStart,
    sample: str,
    given: DialectOverrides,
    *,
    encoding_reason: str,
    lines_before: int,
) -> DialectExplanation:
    """Explain the first of `ranked` against the second.

    Args:
        ranked: Candidates, the best first.
        table: Where the table begins by the best one.
        sample: The text they split.
        given: What was not found but given.
        encoding_reason: Why the text is in its encoding.
        lines_before: Physical lines of the file before the sample.
    """
    best = ranked[0]
    runner_up = next(
        (other for other in ranked[1:] if other.candidate.delimiter != best.candidate.delimiter), None
    )
    reasons = [_delimiter_reason(best, given), *_runner_up_reason(runner_up), table.reason]
    if skipped := sum(any(row.cells) for row in best.rows[: table.row]):
        what = "record before the header is" if skipped == 1 else "records before the header are"
        reasons.append(f"{skipped} {what} not of the table.")
    reasons.append(encoding_reason)
    return DialectExplanation(
        confidence=_confidence(best, runner_up, table, given),
        runner_up=f"delimiter {delimiter_name(runner_up.candidate.delimiter)}" if runner_up else None,
        reasons=tuple(reasons),
        lines=tuple(_deciding_lines(best, table, sample, lines_before)),
        given=given.names,
    )


def delimiter_name(delimiter: str) -> str:
    """How people call it."""
    name = _NAMES.get(delimiter)
    shown = repr(delimiter)
    return f"{shown} ({name})" if name else shown


def _confidence(best: Score, runner_up: Score | None, table: TableStart, given: DialectOverrides) -> float:
    header = 1.0 if given.header_rows is not None else table.sureness
    if given.delimiter is not None:
        return round(0.5 + 0.5 * header, 2)
    margin = 1 - runner_up.value / best.value if runner_up and best.value else 1.0
    delimiter = best.evenness * best.wholeness * (0.6 + 0.4 * max(margin, 0.0))
    return round(min(1.0, delimiter) * (0.8 + 0.2 * header), 2)


def _delimiter_reason(best: Score, given: DialectOverrides) -> str:
    if given.delimiter is not None:
        return "The delimiter was given."
    if best.width == 1:
        return "No delimiter splits the lines evenly: the file has one column."
    return (
        f"Split by {delimiter_name(best.candidate.delimiter)}, {best.evenness:.0%} of the first records have "
        f"{best.width} cells, and {best.wholeness:.0%} of what these hold looks like whole values."
    )


def _runner_up_reason(runner_up: Score | None) -> list[str]:
    if runner_up is None:
        return []
    cells = "cell" if runner_up.width == 1 else "cells"
    name = delimiter_name(runner_up.candidate.delimiter)
    would = f"{runner_up.evenness:.0%} would have {runner_up.width} {cells}, {runner_up.wholeness:.0%} of them whole."
    return [f"Split by {name}, {would}"]


def _deciding_lines(best: Score, table: TableStart, sample: str, lines_before: int) -> list[EvidenceLine]:
    """The last line that is not of the table, the header, the first record, and the first that is not as wide."""
    rows = best.rows
    first = table.row + table.header_rows
    uneven = next(
        (i for i in range(first, len(rows)) if any(rows[i].cells) and len(rows[i].cells) != best.width), None
    )
    above = next((index for index in range(table.row - 1, -1, -1) if any(rows[index].cells)), None)
    chosen = {index for index in (above, table.row, first, uneven) if index is not None}
    return [
        EvidenceLine(
            line_number=lines_before + _line_number(sample, rows[index].start),
            text=_shown(sample[rows[index].start : rows[index].end]),
        )
        for index in sorted(chosen)
        if index < len(rows)
    ]


def _line_number(sample: str, char: int) -> int:
    before = sample[:char]
    return 1 + before.count("\n") + before.count("\r") - before.count("\r\n")


def _shown(line: str) -> str:
    # What is not of the encoding stands as a surrogate here, which neither JSON nor a terminal takes; nor does PostgreSQL a NUL.
    text = line.rstrip("\r\n").encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{SYMBOL FOR NULL}")
    return text if len(text) <= _LINE_LENGTH_SHOWN else text[: _LINE_LENGTH_SHOWN - 1] + "…"
