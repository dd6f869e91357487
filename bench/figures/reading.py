"""The parts that only compute, by themselves: reading and checking, and the inspection of an upload."""

import csv
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from statistics import median

from bench import files
from bench.bench import Bench, NotMeasured
from bench.registry import measures
from bench.report import Figure
from services.processor.checking import Checker
from services.upload.inspection import Inspection
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.reading.records import RecordReader

BLOCK_BYTES = 8 * 1024**2  # what a slice reads
CHUNK_BYTES = 256 * 1024  # about what a request brings at a time
COLUMNS = {"sku": 0, "name": 1, "description": 2}


@measures("reading")
def reading(bench: Bench) -> Iterator[Figure]:
    """Records a second read and checked, beside plain `csv.reader` over the same file."""
    with bench.subfolder("reading") as folder:
        file = files.products(folder / "products.csv", bench.rows)
        ours, theirs = _in_turns(bench, lambda: _read_and_check(file), lambda: _csv_reader(file))
    detail = {"rows": bench.rows, "seconds": ours, "baseline_seconds": theirs}
    value, baseline = (bench.rows / median(seconds) for seconds in (ours, theirs))
    yield Figure("reading", value, "records/s", baseline, detail=detail)


@measures("inspect_throughput")
def inspect_throughput(bench: Bench) -> Iterator[Figure]:
    """Megabytes a second that an upload inspects, beside hashing alone."""
    with bench.subfolder("inspection") as folder:
        content = files.products(folder / "products.csv", bench.rows).read_bytes()
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
    ours, theirs = _in_turns(bench, lambda: _inspect(chunks), lambda: _hash(chunks))
    detail = {"bytes": len(content), "seconds": ours, "baseline_seconds": theirs}
    value, baseline = (len(content) / 1e6 / median(seconds) for seconds in (ours, theirs))
    yield Figure("inspect_throughput", value, "MB/s", baseline, detail=detail)


def _read_and_check(file: Path) -> int:
    reader = RecordReader(Dialect(), width=len(COLUMNS))
    checker = Checker(datasets()["products"], COLUMNS, len(COLUMNS))
    good = 0
    with file.open("rb") as stream:
        blocks = iter(lambda: stream.read(BLOCK_BYTES), b"")
        for batch in chain(chain.from_iterable(map(reader.feed, blocks)), reader.finish()):
            if not batch.is_header:
                good += len(checker.check(batch).numbers)
    return good


def _csv_reader(file: Path) -> int:
    with file.open(newline="", encoding="utf-8") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


def _inspect(chunks: Iterable[bytes]) -> int:
    inspection = Inspection()
    for chunk in chunks:
        inspection.feed(chunk)
    inspection.finish()
    return inspection.rows_detected


def _hash(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _in_turns(
    bench: Bench, ours: Callable[[], int], theirs: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Seconds of each, a round of both at a time. `ours` answers how many records it took."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(bench.rounds):
        began = time.perf_counter()
        if (rows := ours()) != bench.rows:
            raise NotMeasured(f"{rows} records instead of {bench.rows}")
        between = time.perf_counter()
        theirs()
        seconds[0].append(between - began)
        seconds[1].append(time.perf_counter() - between)
    return seconds
