"""Real files that no one here wrote, against record counts established by eye or by two other parsers."""

import csv
import gzip
from pathlib import Path

import pytest

from shared.contracts.dialect import Dialect
from shared.reading.counting import RecordCounter
from shared.reading.dialect import HEAD_BYTES, detect
from shared.reading.encoding import BYTE_ORDER_MARKS, EncodingEvidence
from shared.reading.records import RecordReader

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH.csv"
ENCODINGS = {"ascii": "utf-8", "utf-8-sig": "utf-8"}
# Two names for the same text: it has no character in which Windows-1252 and Latin-1 differ.
SAME_TEXT = {("latin-1", "cp1252")}
FAULTY = {"nul_byte": "nul_byte", "unterminated_quote": "quote_unterminated"}


def opened(path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def truths():
    if not TRUTH.exists():
        reason = pytest.mark.skip(reason="the corpus of real files is not beside the checkout")
        return [pytest.param({}, id="no corpus", marks=reason)]
    with TRUTH.open(newline="", encoding="utf-8") as lines:
        return [pytest.param(row, id=row["path"]) for row in csv.DictReader(lines)]


@pytest.mark.parametrize("row", truths())
def test_records_and_lines_of_real_files(row):
    mark = next((mark for mark, _ in BYTE_ORDER_MARKS if row["encoding"] == "utf-8-sig"), b"")
    dialect = Dialect(
        encoding=ENCODINGS.get(row["encoding"], row["encoding"]),
        delimiter=row["delimiter"].replace("\\t", "\t"),
        header_rows=0,
        start_byte=len(mark),
    )
    reader, counter = RecordReader(dialect), RecordCounter(dialect)
    read, faults = 0, []
    with opened(CORPUS / row["path"]) as file:
        while block := file.read(50_000):
            counter.feed(block)
            for batch in reader.feed(block):
                read += len(batch)
                faults += [fault.code for fault in batch.faults.values()]
    for batch in reader.finish():
        read += len(batch)
        faults += [fault.code for fault in batch.faults.values()]
    # A quote that is never closed ends its record with its line; other readers take the next line in.
    expected = int(row["record_count"]) + ("unterminated_quote" in row["malformed_records"])
    assert read == counter.finish() == expected
    assert reader.checkpoint.line_number == counter.lines == int(row["physical_lines"])
    assert faults == [code for name, code in FAULTY.items() if name in row["malformed_records"]]


@pytest.mark.parametrize("row", truths())
def test_dialects_of_real_files(row):
    evidence = EncodingEvidence()
    with opened(CORPUS / row["path"]) as file:
        head = file.read(HEAD_BYTES)
        evidence.feed(head)
        complete = not (rest := file.read())
        evidence.feed(rest)
    evidence.finish()
    found = detect(head, complete=complete).with_encoding_of(evidence)
    dialect = found.dialect
    header = int(row["header_record"])
    lines_before = head.splitlines()[: dialect.start_line]
    encoding = ENCODINGS.get(row["encoding"], row["encoding"])
    assert (dialect.quote, dialect.escape) == ('"', '"')
    assert dialect.delimiter == row["delimiter"].replace("\\t", "\t")
    assert dialect.encoding == encoding or (encoding, dialect.encoding) in SAME_TEXT
    assert dialect.header_rows == min(header, 1)
    assert sum(map(bool, lines_before)) == max(header - 1, 0), "records above the header"
    assert found.width == int(row["expected_fields"])
