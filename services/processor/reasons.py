"""Why an import fails.

ImportBroken            ended at once, with the code that it names; never tried again by itself
a value refused         ended at once, as PostgreSQL would refuse it again (`refusal_of`)
any other exception     tried again with growing pauses; after the last attempt `reason_of` names the code
"""

import re

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.platform.objects import ObjectMissing, StoreUnavailable

UNIQUE_VIOLATION = "23505"
LOCK_NOT_AVAILABLE = "55P03"
# A load and a single edit may meet in the same keys; PostgreSQL then ends one of the transactions, and it is done again.
COLLISIONS = frozenset({"40001", "40P01", UNIQUE_VIOLATION})  # serialization, deadlock
# SQLSTATE classes (PostgreSQL manual, appendix A): connection exception, operator intervention such as a shutdown.
_AWAY = ("08", "57")
_DATA = "22"  # data exception: out of range, not of its type


class ImportBroken(Exception):
    """The import cannot go on (`code` says why). It is ended as failed; the message is not tried again."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code for an error, whether SQLAlchemy raised it or, as in a COPY, the driver; None if it is another's."""
    code: str | None = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return code


def refusal_of(error: BaseException) -> ImportBroken | None:
    """What to call an error that another attempt would repeat, as PostgreSQL refuses a value; None if it may pass."""
    if not (sqlstate_of(error) or "").startswith(_DATA):
        return None
    said = re.sub(r"^<class .*?>: ", "", str(getattr(error, "orig", None) or error)).partition("\n")[0]
    return ImportBroken("processing_failed", f"the database refused a value: {said[:200]}")


def reason_of(error: BaseException) -> ImportBroken:
    """What to call the last of many attempts' error. Nothing is lost: the import may be retried from its checkpoint."""
    if isinstance(error, ObjectMissing):
        return ImportBroken("file_missing", "the uploaded file is not in the store, also after many attempts")
    if isinstance(error, StoreUnavailable):
        return ImportBroken("store_unavailable", "the file store did not answer, also after many attempts")
    if _is_database_away(error):
        return ImportBroken("database_unavailable", "the database did not answer, also after many attempts")
    return ImportBroken(
        "processing_failed", f"gave up after repeated errors, the last one: {type(error).__name__}"
    )


def _is_database_away(error: BaseException) -> bool:
    if isinstance(error, OSError | TimeoutError) or (sqlstate_of(error) or "").startswith(_AWAY):
        return True
    return isinstance(error, SQLAlchemyError) and (
        not isinstance(error, DBAPIError) or error.connection_invalidated
    )
