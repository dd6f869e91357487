"""One file of products, new, again and changed, beside the same by hand; a file of bad records; a naive importer.

Every round has fresh databases, and takes the two sides in turns.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import by_hand, files, naive
from bench.bench import Bench, NotMeasured, say, settle
from bench.registry import measures
from bench.report import Figure
from bench.running import penstock_up

NAIVE_ROWS = 50_000  # ten chunks; the whole file would take minutes and say the same

Seconds = dict[str, list[float]]  # of each step, one for each round


@dataclass(frozen=True)
class _Files:
    """The same products twice, the second time with every record changed, and as many records that are all bad."""

    new: Path
    changed: Path
    bad: Path


@measures("import_new", "import_unchanged", "import_changed", "import_all_bad", "import_naive")
def imports(bench: Bench) -> Iterator[Figure]:
    """Figures from the same rounds: what one of them needs is measured once for all."""
    with bench.subfolder("imports") as folder:
        written = _Files(
            new=files.products(folder / "new.csv", bench.rows),
            changed=files.products(folder / "changed.csv", bench.rows, edition=2),
            bad=files.bad_products(folder / "bad.csv", bench.rows),
        )
        ours: Seconds = defaultdict(list)
        theirs: Seconds = defaultdict(list)
        for number in range(bench.rounds):
            ours_first = number % 2 == 0
            if ours_first:
                _import(bench, written, ours)
            _by_hand(bench, written, theirs)
            if not ours_first:
                _import(bench, written, ours)
            say(f"Round {number + 1} of {bench.rounds}: {_last(ours)}; by hand: {_last(theirs)}")
        yield from _figures(bench, written, ours, theirs)
        if "import_naive" in bench.wanted:
            yield _naive(bench, folder, ours)


def _import(bench: Bench, written: _Files, seconds: Seconds) -> None:
    with bench.database() as url, penstock_up(bench, url) as penstock:
        settle(url)
        seconds["new"].append(penstock.import_file(written.new, {"rows_inserted": bench.rows}))
        if "import_unchanged" in bench.wanted:
            settle(url)
            seconds["unchanged"].append(penstock.import_file(written.new, {"rows_unchanged": bench.rows}))
        if bench.wanted & {"import_changed", "import_naive"}:
            settle(url)
            seconds["changed"].append(penstock.import_file(written.changed, {"rows_updated": bench.rows}))
    if "import_all_bad" in bench.wanted:
        seconds["bad"].append(_import_bad(bench, written))


def _import_bad(bench: Bench, written: _Files) -> float:
    with bench.database() as url, penstock_up(bench, url) as penstock:
        settle(url)
        return penstock.import_file(written.bad, {"rows_rejected": bench.rows})


def _by_hand(bench: Bench, written: _Files, seconds: Seconds) -> None:
    if not bench.wanted - {"import_all_bad", "import_naive"}:
        return
    with bench.database() as url:
        by_hand.create_table(url)
        settle(url)
        seconds["new"].append(by_hand.load(url, written.new))
        if "import_unchanged" in bench.wanted:
            settle(url)
            seconds["unchanged"].append(by_hand.load(url, written.new, only_changed=True))
        if bench.wanted & {"import_changed", "import_unchanged"}:
            settle(url)
            seconds["changed"].append(by_hand.load(url, written.changed))
        if (rows := by_hand.count(url)) != bench.rows:
            raise NotMeasured(f"by hand there are {rows} rows instead of {bench.rows}")


def _figures(bench: Bench, written: _Files, ours: Seconds, theirs: Seconds) -> Iterator[Figure]:
    size = {"rows": bench.rows, "bytes": written.new.stat().st_size, "by_hand_with": by_hand.tool()}
    if "import_new" in bench.wanted:
        yield _beside("import_new", "<= 1.0", ours["new"], theirs["new"], size)
    if "import_unchanged" in bench.wanted:
        others = {
            "ratio_to_merge_that_updates_all": median(ours["unchanged"]) / median(theirs["changed"]),
            "ratio_to_merge_that_compares": median(ours["unchanged"]) / median(theirs["unchanged"]),
            "merge_that_updates_all": theirs["changed"],
            "merge_that_compares": theirs["unchanged"],
        }
        yield _beside("import_unchanged", "<= 0.3", ours["unchanged"], theirs["new"], size | others)
    if "import_changed" in bench.wanted:
        yield _beside("import_changed", "<= 1.0", ours["changed"], theirs["changed"], size)
    if "import_all_bad" in bench.wanted:
        bad = {"rows": bench.rows, "bytes": written.bad.stat().st_size}
        yield _beside("import_all_bad", "<= 2.0", ours["bad"], ours["new"], bad)


def _beside(
    name: str, goal: str, ours: list[float], theirs: list[float], detail: Mapping[str, object]
) -> Figure:
    rounds = {"rounds": ours, "baseline_rounds": theirs}
    return Figure(name, median(ours), "s", median(theirs), goal, {**detail, **rounds})


def _naive(bench: Bench, folder: Path, ours: Seconds) -> Figure:
    """Records a second: all of the file by us, a part of it by the naive design."""
    rows = min(NAIVE_ROWS, bench.rows)
    new = files.products(folder / "part.csv", rows)
    changed = files.products(folder / "part_changed.csv", rows, edition=2)
    with bench.database() as url:
        by_hand.create_table(url)
        naive_new = rows / naive.load(url, new)
        settle(url)
        naive_changed = rows / naive.load(url, changed)
    ours_new, ours_changed = (bench.rows / median(ours[step]) for step in ("new", "changed"))
    detail = {
        "rows": bench.rows,
        "baseline_rows": rows,
        "changed": ours_changed,
        "baseline_changed": naive_changed,
        "ratio_changed": ours_changed / naive_changed,
    }
    return Figure("import_naive", ours_new, "records/s", naive_new, detail=detail)


def _last(seconds: Seconds) -> str:
    return ", ".join(f"{step} {taken[-1]:.2f} s" for step, taken in seconds.items())
