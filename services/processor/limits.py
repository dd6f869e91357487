"""When too many records of an import were refused. Pure."""

from decimal import Decimal

from services.processor.repository import Work
from shared.contracts.options import ImportOptions


def excess(options: ImportOptions, work: Work, refused: int | None = None) -> str | None:
    """Why an import must fail by `max_rejected` or `max_rejected_share`, once that is certain; else None.

    Args:
        options: Of the import.
        work: How far it is.
        refused: Records with row errors; by default those found in reading.
    """
    if refused is None:
        refused = work.rows_rejected
    if options.max_rejected is not None and refused > options.max_rejected:
        records = "record has" if refused == 1 else "records have"
        return f"{refused:,} {records} row errors; max_rejected allows {options.max_rejected:,}"
    share = options.max_rejected_share
    most = _most_records(work)
    # The share as it was written: 0.29 of 100 records are 29, and not a bit less as in binary fractions.
    if share is not None and most is not None and refused > Decimal(str(share)) * most:
        return (
            f"{refused:,} of at most {most:,} records with row errors; max_rejected_share allows {share:.4g}"
        )
    return None


def _most_records(work: Work) -> int | None:
    """How many records the import has at most: each of the lines that are left may be one."""
    if work.phase != "reading":
        return int(work.rows_processed)
    if work.lines_detected is None:
        return None
    return int(work.rows_processed + max(work.lines_detected - work.line_number, 0))
