"""The most memory that a processor ever has, by the size of the file: it must not grow."""

from collections.abc import Iterator

from bench import files
from bench.bench import Bench, say
from bench.registry import measures
from bench.report import Figure
from bench.running import penstock_apart

MB = 1_000_000
MIB = 1024**2
SMALL, USUAL, LARGE = 10 * MB, 1_000 * MB, 5_000 * MB
DISK_FACTOR = 6  # the file, its copy in the store, the records, their index, and the log of changes


@measures("import_memory")
def import_memory(bench: Bench) -> Iterator[Figure]:
    """Mebibytes at the largest size, beside those at 10 MB."""
    sizes = [SMALL, USUAL, *([LARGE] if bench.large else [])]
    bench.require_disk(DISK_FACTOR * sizes[-1])
    idle, peaks = 0.0, []
    for size in sizes:
        idle, peak = _peak(bench, size)
        say(f"{size // MB} MB: {peak:.0f} MiB, idle {idle:.0f} MiB")
        peaks.append(peak)
    by_size = {f"{size // MB} MB": peak for size, peak in zip(sizes, peaks, strict=True)}
    yield Figure("import_memory", peaks[-1], "MiB", peaks[0], "value <= 256", {"idle": idle} | by_size)


def _peak(bench: Bench, size: int) -> tuple[float, float]:
    """MiB of a fresh processor before and after it has done a file of `size` bytes."""
    with bench.database() as url, bench.subfolder("memory") as folder:
        file = folder / "products.csv"
        rows = files.products_of_bytes(file, size)
        with penstock_apart(bench, url) as penstock:
            (processor,) = penstock.processors
            idle = processor.peak_memory()
            penstock.import_file(file, {"rows_inserted": rows})
            return idle / MIB, processor.peak_memory() / MIB
