"""`penstock inspect`: how a file is read, why so, and what is in it. Constant memory, whatever its size."""

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.opening import InputFile, shown
from penstock.progress import megabytes, say
from shared.contracts.datasets import Dataset
from shared.contracts.dialect import Dialect
from shared.reading.batch import RecordBatch
from shared.reading.cleaning import begins_like
from shared.reading.dialect import Detected, DialectOverrides
from shared.reading.encoding import mark_of
from shared.reading.errors import HeaderError, UnreadableFile
from shared.reading.evidence import delimiter_name
from shared.reading.header import HeaderMatch, columns_by_position, columns_of, joined_names, match_header
from shared.reading.records import RecordReader

READ, FAILED = 0, 1  # exit codes
RECORDS_SHOWN = 5
RECORDS_MATCHED = 50  # by which columns without a header are told
PLACES_KEPT = 5  # of each kind of problem
_CELL_LENGTH_SHOWN = 40  # characters
_COLUMNS_SHOWN = 60
_WIDEST_BELOW_EACH_OTHER = 6  # columns, at the width of a terminal
_BESIDE_EACH_OTHER = 3


@dataclass
class Problem:
    """Records that are not as the others, and where the first few are.

    Attributes:
        places: For each: record number, physical line, byte offset, and what is wrong.
    """

    count: int = 0
    places: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Contents:
    """What a file holds, found by reading all of it.

    Attributes:
        header: Names of the columns; empty if the file names none.
        records: Data records.
        lines: Physical lines.
        line_ends: How many lines end with LF, CRLF and CR.
        widths: How many records have so many cells.
        first_records: The first few.
        problems: Records that are ragged or invalid, by code.
        further_table: Where another table begins, which is not read: its physical line and byte offset.
    """

    header: list[str] = field(default_factory=list)
    records: int = 0
    lines: int = 0
    line_ends: dict[str, int] = field(default_factory=lambda: {"LF": 0, "CRLF": 0, "CR": 0})
    widths: Counter[int] = field(default_factory=Counter)
    first_records: list[list[str]] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)
    further_table: dict[str, int] | None = None


@dataclass(frozen=True)
class Inspected:
    """All that there is to say about a file.

    Attributes:
        size: Bytes, as it is stored.
        compressed: Whether it is packed with gzip.
        byte_order_mark: Whether it begins with one.
        match: Where the dataset's columns are, or why they are not found, if a dataset was named.
    """

    file: Path
    size: int
    compressed: bool
    byte_order_mark: bool
    found: Detected
    contents: Contents
    dataset: str | None
    match: HeaderMatch | HeaderError | None


def run(file: Path, given: DialectOverrides, dataset: Dataset | None, *, as_json: bool) -> int:
    """Inspect and print; READ, or FAILED if the file cannot be read at all (why is said on standard error)."""
    try:
        inspected = inspect(file, given, dataset)
    except UnreadableFile as error:
        say(Console(stderr=True), f"{shown(file)}: {error.message} {error.hint} ({error.code})")
        return FAILED
    except OSError as error:
        say(Console(stderr=True), f"{shown(file)}: {error.strerror}")
        return FAILED
    if as_json:
        say(Console(), json.dumps(as_document(inspected), indent=2, ensure_ascii=False))
    else:
        _show(inspected, Console())
    return READ


def inspect(file: Path, given: DialectOverrides, dataset: Dataset | None) -> Inspected:
    """Read all of a file.

    Raises:
        UnreadableFile: it is empty, no text, or damaged.
        OSError: it cannot be read.
    """
    source = InputFile(file)
    found = source.detected(given, columns_of(dataset) if dataset else None)
    first = next(source.blocks())
    contents = _contents(source.blocks(), found)
    return Inspected(
        file=file,
        size=file.stat().st_size,
        compressed=source.is_compressed(),
        byte_order_mark=mark_of(first) is not None,
        found=found,
        contents=contents,
        dataset=dataset.name if dataset else None,
        match=_match(contents, dataset) if dataset else None,
    )


def _contents(blocks: Iterable[bytes], found: Detected) -> Contents:
    contents = Contents()
    reader = RecordReader(found.dialect)
    lines = _LineEnds(found.dialect.encoding)
    names: list[list[str]] = []
    for batch in _batches(reader, blocks, lines):
        if batch.is_header:
            names += batch.fields
            contents.header = joined_names(names)
        else:
            _count(contents, batch, len(contents.header) or found.width)
        if batch.faults:
            _note_faults(contents, batch)
    contents.lines, contents.line_ends = lines.total, lines.counts
    if reader.table_end is not None:
        contents.further_table = asdict(reader.table_end)
    return contents


def _batches(reader: RecordReader, blocks: Iterable[bytes], lines: "_LineEnds") -> Iterator[RecordBatch]:
    for block in blocks:
        lines.feed(block)
        yield from reader.feed(block)
    yield from reader.finish()


def _count(contents: Contents, batch: RecordBatch, width: int) -> None:
    contents.records += len(batch)
    missing = RECORDS_MATCHED - len(contents.first_records)
    if missing > 0:
        contents.first_records += batch.fields[:missing]
    _note_headers(contents, batch)
    widths = Counter(map(len, batch.fields))
    if not batch.faults and set(widths) == {width}:
        contents.widths += widths
        return
    for index, row in enumerate(batch.fields):
        if index in batch.faults:
            continue
        contents.widths[len(row)] += 1
        # Empty cells behind the last column are passed over, as an import does.
        if len(row) < width or any(map(str.strip, row[width:])):
            code = "missing_cell" if len(row) < width else "extra_cell"
            _note(contents, code, batch, index, f"{len(row)} cells instead of {width}")


def _note_headers(contents: Contents, batch: RecordBatch) -> None:
    if not contents.header:
        return
    for index, row in enumerate(batch.fields):
        if row and row[0] == contents.header[0] and begins_like(row, contents.header):
            _note(
                contents,
                "header_repeated",
                batch,
                index,
                "the header again; `penstock clean` ends the table here",
            )


def _note_faults(contents: Contents, batch: RecordBatch) -> None:
    for index, fault in batch.faults.items():
        _note(contents, fault.code, batch, index, fault.message)


def _note(contents: Contents, code: str, batch: RecordBatch, index: int, message: str) -> None:
    problem = contents.problems.setdefault(code, Problem())
    problem.count += 1
    if len(problem.places) < PLACES_KEPT:
        problem.places.append({**asdict(batch.position(index)), "message": message})


class _LineEnds:
    """Counts line ends in bytes that come in blocks."""

    def __init__(self, encoding: str) -> None:
        self.counts = {"LF": 0, "CRLF": 0, "CR": 0}
        # One byte is one character but in UTF-16; what the characters are does not matter here.
        self._decoder = codecs.getincrementaldecoder(
            encoding if encoding.startswith("utf-16") else "latin-1"
        )("replace")
        self._last = "\n"

    def feed(self, block: bytes) -> None:
        text = self._decoder.decode(block)
        if not text:
            return
        if self._last == "\r" and text.startswith("\n"):
            self.counts["CR"] -= 1
            self.counts["CRLF"] += 1
            self.counts["LF"] -= 1
        both = text.count("\r\n")
        self.counts["CRLF"] += both
        self.counts["LF"] += text.count("\n") - both
        self.counts["CR"] += text.count("\r") - both
        self._last = text[-1]

    @property
    def total(self) -> int:
        """Lines, the last one with or without its end."""
        return sum(self.counts.values()) + (self._last not in {"\n", "\r"})


def _match(contents: Contents, dataset: Dataset) -> HeaderMatch | HeaderError:
    columns = columns_of(dataset)
    try:
        if contents.header:
            return match_header(contents.header, columns)
        return columns_by_position(contents.first_records, columns)
    except HeaderError as error:
        return error


def as_document(inspected: Inspected) -> dict[str, Any]:
    """Everything, as JSON shows it."""
    dialect, contents = inspected.found.dialect, inspected.contents
    return {
        "file": shown(inspected.file),
        "size": inspected.size,
        "compression": "gzip" if inspected.compressed else None,
        "byte_order_mark": inspected.byte_order_mark,
        "dialect": dialect.model_dump(),
        "line_ends": contents.line_ends,
        "preamble_lines": dialect.start_line,
        "header": contents.header,
        "dataset": _dataset_document(inspected),
        "records": contents.records,
        "lines": contents.lines,
        "record_widths": {str(width): count for width, count in contents.widths.most_common()},
        "first_records": contents.first_records[:RECORDS_SHOWN],
        "problems": {code: asdict(problem) for code, problem in contents.problems.items()},
        "further_table": contents.further_table,
        "explanation": inspected.found.explanation.model_dump(),
    }


def _dataset_document(inspected: Inspected) -> dict[str, Any] | None:
    match inspected.match:
        case None:
            return None
        case HeaderMatch(columns, unknown):
            return {
                "name": inspected.dataset,
                "columns": dict(columns),
                "unknown": list(unknown),
                "problem": None,
            }
        case HeaderError() as error:
            problem = {"code": error.code, "message": error.message, "hint": error.hint}
            return {"name": inspected.dataset, "columns": {}, "unknown": [], "problem": problem}


def _show(inspected: Inspected, console: Console) -> None:
    for name, text in _facts(inspected):
        say(console, f"{name + ':':<12}{text}")
    say(console, "")
    if inspected.contents.first_records:
        say(console, "The first records:")
        console.print(_records_table(inspected.contents))
    for line in chain(_problem_lines(inspected), _why_lines(inspected)):
        say(console, line)


def _facts(inspected: Inspected) -> Iterator[tuple[str, str]]:
    dialect, contents = inspected.found.dialect, inspected.contents
    packed = ", packed with gzip" if inspected.compressed else ""
    yield "File", f"{shown(inspected.file)} ({megabytes(inspected.size)}{packed})"
    mark = ", with a byte order mark" if inspected.byte_order_mark else ""
    yield "Encoding", dialect.encoding.upper() + mark
    yield "Delimiter", delimiter_name(dialect.delimiter)
    yield (
        "Quote",
        f"{dialect.quote}, plain inside quotes {_escape_text(dialect)}" if dialect.quote else "none",
    )
    yield (
        "Line ends",
        ", ".join(f"{count:,} {name}" for name, count in contents.line_ends.items() if count) or "none",
    )
    if dialect.start_line:
        yield (
            "Preamble",
            f"{dialect.start_line} {'line' if dialect.start_line == 1 else 'lines'} before the table",
        )
    rows = f", in {dialect.header_rows} rows" if dialect.header_rows > 1 else ""
    yield (
        "Header",
        f"{len(contents.header)} columns{rows}: {', '.join(contents.header)}" if contents.header else "none",
    )
    yield "Records", f"{contents.records:,} in {contents.lines:,} lines"
    if inspected.match is not None:
        yield "Dataset", _match_text(inspected)


def _escape_text(dialect: Dialect) -> str:
    if not dialect.escape:
        return "only where no delimiter follows"
    return "if doubled" if dialect.escape == dialect.quote else f"behind {dialect.escape}"


def _match_text(inspected: Inspected) -> str:
    match inspected.match:
        case HeaderMatch(columns, unknown):
            placed = ", ".join(f"{name} = column {position + 1}" for name, position in columns.items())
            ignored = f"; ignored: {', '.join(unknown)}" if unknown else ""
            return f"{inspected.dataset}: {placed}{ignored}"
        case HeaderError() as error:
            return f"{inspected.dataset}: {error.message} {error.hint}"
        case None:
            return ""


def _records_table(contents: Contents) -> Table:
    """The first records, one below the other; where they are wide, side by side, a line for each column."""
    records = contents.first_records[:RECORDS_SHOWN]
    width = max(len(contents.header), *map(len, records))
    names = [*contents.header, *(f"column {place + 1}" for place in range(len(contents.header), width))]
    if width <= _WIDEST_BELOW_EACH_OTHER:
        return _table(names, records)
    beside = [
        [name, *cells] for name, *cells in zip_longest(names, *records[:_BESIDE_EACH_OTHER], fillvalue="")
    ]
    more = [[f"and {width - _COLUMNS_SHOWN} more"]] if width > _COLUMNS_SHOWN else []
    return _table(
        ["column", *(f"record {place + 1}" for place in range(len(beside[0]) - 1))],
        beside[:_COLUMNS_SHOWN] + more,
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table()
    for name in names:
        table.add_column(Text(_short(name)))
    for row in rows:
        table.add_row(*(Text(_short(cell)) for cell in row))
    return table


def _short(cell: str) -> str:
    text = "".join(
        letter if letter.isprintable() else "␤" if letter in "\r\n" else "\ufffd" for letter in cell
    )
    return text if len(text) <= _CELL_LENGTH_SHOWN else text[: _CELL_LENGTH_SHOWN - 1] + "…"


def _problem_lines(inspected: Inspected) -> Iterator[str]:
    for code, problem in inspected.contents.problems.items():
        yield f"{problem.count:,} {'record' if problem.count == 1 else 'records'} with {code}:"
        for place in problem.places:
            yield (
                f"  record {place['record_number']}, line {place['line_number']}, byte {place['byte_offset']}: "
                f"{place['message']}"
            )
    if further := inspected.contents.further_table:
        yield (
            f"A further table begins in line {further['line_number']} (byte {further['byte_offset']}). It is not read: "
            "put it into a file of its own."
        )


def _why_lines(inspected: Inspected) -> Iterator[str]:
    explanation = inspected.found.explanation
    runner_up = f", before {explanation.runner_up}" if explanation.runner_up else ""
    yield f"Why so (sure to {explanation.confidence:.0%}{runner_up}):"
    yield from (f"  {reason}" for reason in explanation.reasons)
    yield from (f"  line {line.line_number}: {line.text}" for line in explanation.lines)
    if explanation.given:
        yield f"  Given: {', '.join(explanation.given)}."
