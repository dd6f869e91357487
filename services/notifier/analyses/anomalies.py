"""What is odd about a file beside the earlier ones of its supplier. Pure.

Each check answers one verdict; none where it cannot be made, as there is nothing to compare with.
"""

import re
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

from services.notifier.analyses.findings import Delivered, File, Judgement, Verdict, change_from
from services.notifier.analyses.thresholds import Thresholds

# A catalogue that hardly ever changes has next to no deviation: at least so much of its mean counts as one.
LEAST_DEVIATION_SHARE = 0.01
HALF = 0.5  # of the records rejected: no longer a file that is right but for a few records
COLUMNS_SHOWN = 50

Check = Callable[[Delivered, Thresholds], Sequence[Verdict]]


def row_count(delivered: Delivered, thresholds: Thresholds) -> list[Verdict]:
    """`warn`: more than `row_count_change` off the last good file. `fail`: outside `row_count_sigma` of the same weekday's."""
    rows = delivered.file.rows
    verdicts = [_beside_last(delivered, thresholds), _beside_weekday(delivered, thresholds)]
    return [] if rows is None else [verdict for verdict in verdicts if verdict]


def _beside_last(delivered: Delivered, thresholds: Thresholds) -> Verdict | None:
    file, before = delivered.file, delivered.before
    if not file.rows or not before or not before.rows:
        return None
    change = change_from(before.rows, file.rows)
    if abs(change) <= thresholds.row_count_change:
        return Verdict("row_count", "passed")
    return Verdict(
        "row_count",
        "warn",
        f"{file.name} has {file.rows:,} records, {change:+.0%} from the {before.rows:,} of {before.day}",
        file.named()
        | {"rows": file.rows, "change": round(change, 4), "compared_with": before.named() | {"rows": before.rows}}
        | {"threshold": {"row_count_change": thresholds.row_count_change}},
    )  # fmt: skip


def _beside_weekday(delivered: Delivered, thresholds: Thresholds) -> Verdict | None:
    file, others = delivered.file, delivered.weekday_rows
    if file.rows is None or len(others) < max(thresholds.row_count_files, 2):
        return None
    mean = fmean(others)
    deviation = max(stdev(others), mean * LEAST_DEVIATION_SHARE)
    if abs(file.rows - mean) <= thresholds.row_count_sigma * deviation:
        return Verdict("row_count", "passed")
    weekday = f"{file.day:%A}"
    return Verdict(
        "row_count",
        "fail",
        f"{file.name} has {file.rows:,} records; on a {weekday} it is {mean:,.0f} ± {deviation:,.0f}",
        file.named()
        | {"rows": file.rows, "compared_with": {"weekday": weekday, "files": len(others)}}
        | {"mean": round(mean, 1), "deviation": round(deviation, 1)}
        | {"sigma": round((file.rows - mean) / deviation, 1) if deviation else None}
        | {"threshold": {"row_count_sigma": thresholds.row_count_sigma}},
    )  # fmt: skip


def reject_rate(delivered: Delivered, thresholds: Thresholds) -> list[Verdict]:
    """`warn`: more than `reject_rate_jump` above the last good file's; `fail`: and half of the records or more are rejected."""
    file, before = delivered.file, delivered.before
    rate, usual = _rejected_share(file), _rejected_share(before)
    if rate is None or before is None or usual is None:
        return []
    if round(rate - usual, 9) <= thresholds.reject_rate_jump:
        return [Verdict("reject_rate", "passed")]
    says = f"{rate:.1%} of the records of {file.name} were rejected; {usual:.1%} on {before.day}"
    evidence = file.named() | {
        "rejected": file.rejected,
        "rows": file.rows,
        "rate": round(rate, 4),
        "compared_with": before.named() | {"rate": round(usual, 4)},
        "threshold": {"reject_rate_jump": thresholds.reject_rate_jump},
    }
    return [Verdict("reject_rate", "fail" if rate >= HALF else "warn", says, evidence)]


def _rejected_share(file: File | None) -> float | None:
    return file.rejected / file.rows if file and file.rows and file.rejected is not None else None


def header_change(delivered: Delivered, _: Thresholds) -> list[Verdict]:
    """`fail`: columns of the last good file are missing; `warn`: others were added, or they stand in another order.

    Names are compared as everywhere: ignoring case, blanks, `_` and `-`.
    """
    file, before = delivered.file, delivered.before
    if not file.header or not before or not before.header:
        return []
    now, then = ({_folded(name): name for name in header} for header in (file.header, before.header))
    added = [name for folded, name in now.items() if folded not in then]
    removed = [name for folded, name in then.items() if folded not in now]
    reordered = [one for one in now if one in then] != [one for one in then if one in now]
    if not (added or removed or reordered):
        return [Verdict("header_change", "passed")]
    changes = [f"without {_listed(removed)}"] if removed else []
    changes += [f"with {_listed(added)}"] if added else []
    changes += ["in another order"] if reordered else []
    says = f"{file.name} comes {', '.join(changes)} since {before.day}"
    evidence = file.named() | {
        "added": added[:COLUMNS_SHOWN],
        "removed": removed[:COLUMNS_SHOWN],
        "reordered": reordered,
        "columns": len(file.header),
        "compared_with": before.named() | {"columns": len(before.header)},
    }
    return [Verdict("header_change", "fail" if removed else "warn", says, evidence)]


def duplicate_file(delivered: Delivered, _: Thresholds) -> list[Verdict]:
    """`warn`: an earlier good file has the very same content."""
    file, same = delivered.file, delivered.same_as
    if same is None:
        return [Verdict("duplicate_file", "passed")]
    says = f"{file.name} has the same content as {same.name} of {same.day}"
    return [Verdict("duplicate_file", "warn", says, file.named() | {"compared_with": same.named()})]


def failed_file(files: Sequence[File]) -> list[Verdict]:
    """`warn`: a file of the day failed; `fail`: and none of that day was good."""
    failed = [file for file in files if file.status == "failed"]
    if not failed:
        return [Verdict("failed_file", "passed")] if files else []
    good = sum(file.status == "good" for file in files)
    judgement: Judgement = "warn" if good else "fail"
    counts: dict[str, Any] = {"files": len(files), "good": good, "failed": len(failed)}
    return [
        Verdict("failed_file", judgement, f"{file.name} failed", file.named() | counts) for file in failed
    ]


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more columns" if len(names) > 3 else "")


CHECKS_OF_FAILED: tuple[Check, ...] = (reject_rate, header_change)  # which may have been read in part only
CHECKS: tuple[Check, ...] = (row_count, *CHECKS_OF_FAILED)
