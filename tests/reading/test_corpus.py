"""Real files that no one here wrote, against record counts established by eye or by two other parsers."""

import csv
import gzip
from pathlib import Path

import pytest

from shared.contracts.dialect import Dialect
from shared.reading.counting import RecordCounter
from shared.reading.dialect import DELIMITERS, HEAD_BYTES, detect
from shared.reading.records import RecordReader

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH.csv"
ENCODINGS = {"ascii": 0, "utf-8": 0, "utf-8-sig": 3}  # and the bytes of the byte order mark


def delimiter(row):
    return row["delimiter"].replace("\\t", "\t")


def is_ours(row):
    return (
        delimiter(row) in DELIMITERS
        and row["quotechar"] in {'"', ""}
        and not row["escapechar"]
        and row["encoding"] in ENCODINGS
        and row["n_malformed"] == "0"
    )


def opened(path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def well_formed():
    if not TRUTH.exists():
        reason = pytest.mark.skip(reason="the corpus of real files is not beside the checkout")
        return [pytest.param({}, id="no corpus", marks=reason)]
    with TRUTH.open(newline="", encoding="utf-8") as lines:
        return [pytest.param(row, id=row["path"]) for row in csv.DictReader(lines) if is_ours(row)]


@pytest.mark.parametrize("row", well_formed())
def test_records_and_lines_of_real_files(row):
    dialect = Dialect(bom=ENCODINGS[row["encoding"]], delimiter=delimiter(row), header=False)
    reader, counter = RecordReader(dialect), RecordCounter(dialect)
    read, faults = 0, []
    with opened(CORPUS / row["path"]) as file:
        while block := file.read(50_000):
            counter.feed(block)
            for batch in reader.feed(block):
                read += len(batch)
                faults += batch.faults.values()
    for batch in reader.finish():
        read += len(batch)
        faults += batch.faults.values()
    assert read == int(row["record_count"])
    assert counter.finish() == int(row["record_count"])
    assert reader.checkpoint.line_number == int(row["physical_lines"])
    assert faults == []


@pytest.mark.parametrize("row", well_formed())
def test_dialects_of_real_files(row):
    with opened(CORPUS / row["path"]) as file:
        head = file.read(HEAD_BYTES)
        complete = not file.read(1)
    assert detect(head, complete=complete) == Dialect(
        bom=ENCODINGS[row["encoding"]], delimiter=delimiter(row)
    )
