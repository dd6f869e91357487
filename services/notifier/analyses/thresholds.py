"""What makes a supplier late, a file odd: every number that decides, with its unit. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Settings `PENSTOCK_ANALYSIS_…`, each by the same name.

    Attributes:
        window_days: Days that the cadence is made of, and in which files are looked for to compare with.
        new_days: A supplier whose first good file is fewer days ago is new, and never late.
        dead_days: Days without a good file after which a supplier is dead.
        spread_ratio: Spread of the gaps, in medians, up to which they are consistent.
        long_gap_ratio: Medians beyond which a gap is a long one.
        long_gap_share: Share of long gaps below which they are consistent all the same.
        late_days: Days that a file may come after the day it was expected on.
        row_count_change: Share by which the records of a file may differ from the last good file.
        row_count_sigma: Standard deviations by which they may differ from the mean of the same weekday's files.
        row_count_files: Files of that weekday from which on there is such a mean.
        reject_rate_jump: By how much the share of rejected records may rise since the last good file.
        price_change: Share by which a typical price may differ from the last good file.
        lowest_price: The typical price, in whatever currency, below which prices are too low.
        missing_share: Share of empty cells in a key column that is too many.
        numbers_share: Share of numbers in a text column that is too many.
        format_share: Share of well-formed values in a key column that is too few.
    """

    window_days: int = 180
    new_days: int = 14
    dead_days: int = 28
    spread_ratio: float = 1.0
    long_gap_ratio: float = 2.0
    long_gap_share: float = 0.2
    late_days: int = 0
    row_count_change: float = 0.3
    row_count_sigma: float = 3.0
    row_count_files: int = 4
    reject_rate_jump: float = 0.1
    price_change: float = 0.3
    lowest_price: float = 0.01
    missing_share: float = 0.5
    numbers_share: float = 0.3
    format_share: float = 0.7
