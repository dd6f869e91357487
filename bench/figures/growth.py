"""Whether imports slow down as their table grows."""

from collections.abc import Iterator

from bench import files
from bench.bench import Bench, say, settle
from bench.registry import measures
from bench.report import Figure
from bench.running import penstock_up

STEP = 500_000  # records of one import
USUAL, LARGE = 3_000_000, 10_000_000
DISK_BYTES_A_ROW = 1_000


@measures("import_growth")
def import_growth(bench: Bench) -> Iterator[Figure]:
    """Records a second of the last import into a growing table, beside the first."""
    total = LARGE if bench.large else USUAL
    bench.require_disk(total * DISK_BYTES_A_ROW)
    step = min(STEP, bench.rows)
    speeds = []
    with bench.database() as url, penstock_up(bench, url) as penstock, bench.subfolder("growth") as folder:
        for first in range(0, total * step // STEP, step):
            file = files.products(folder / "step.csv", step, first=first)
            settle(url)
            speeds.append(step / penstock.import_file(file, {"rows_inserted": step}))
            say(f"{first + step:,} records: {speeds[-1]:,.0f} records/s")
    detail = {"rows_a_step": step, "rows": len(speeds) * step, "records_per_second": speeds}
    yield Figure("import_growth", speeds[-1], "records/s", speeds[0], detail=detail)
