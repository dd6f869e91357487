"""The investigation log of a program, as its environment names it, and the calls that use it.

`PENSTOCK_URL`: where Penstock is (default: this machine's port 8000). `PENSTOCK_TOKEN`, or `PENSTOCK_TOKEN_FILE`, read anew
after every failure, so that a token may be renewed. `PENSTOCK_SPOOL`: the folder in which events wait; `PENSTOCK_SPOOL_BYTES`:
how much may (default: 64 MiB).
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Unpack

from shared.client.errors import ClientError
from shared.client.investigation_event import EventFields
from shared.client.investigation_log import InvestigationLog, default_spool
from shared.client.spool import SPOOL_BYTES

LOCAL = "http://127.0.0.1:8000"
LEAST_SPOOL_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)


@cache
def default_log() -> InvestigationLog:
    """The log that the environment names, made when it is first needed."""
    return InvestigationLog(
        os.environ.get("PENSTOCK_URL") or LOCAL,
        token_from_environment,
        spool=spool_from_environment(),
        spool_bytes=spool_bytes_from_environment(),
    )


def log_investigation_event(**fields: Unpack[EventFields]) -> str:
    """Report an error of a pipeline, or its end. Returns the event's id at once; see `InvestigationLog.log`."""
    return default_log().log(**fields)


async def log_investigation_event_async(**fields: Unpack[EventFields]) -> str:
    """The same for coroutines. It waits for the spool, not for the network, and holds no event loop up."""
    return await default_log().log_async(**fields)


def spool_from_environment() -> Path:
    """The folder in which events wait: PENSTOCK_SPOOL, or one among the state of this user's programs."""
    named = os.environ.get("PENSTOCK_SPOOL")
    return Path(named) if named else default_spool()


def spool_bytes_from_environment() -> int:
    """How much may wait in it."""
    said = os.environ.get("PENSTOCK_SPOOL_BYTES") or str(SPOOL_BYTES)
    if said.isdecimal() and int(said) >= LEAST_SPOOL_BYTES:
        return int(said)
    # The pipeline that reports an error cannot do anything about this one.
    logger.warning(
        "PENSTOCK_SPOOL_BYTES is %r, no number of at least %d; %d is used",
        said,
        LEAST_SPOOL_BYTES,
        SPOOL_BYTES,
    )
    return SPOOL_BYTES


def token_from_environment() -> str:
    """The access token.

    Raises:
        ClientError: there is none, or its file cannot be read.
    """
    if token := os.environ.get("PENSTOCK_TOKEN"):
        return token
    if not (named := os.environ.get("PENSTOCK_TOKEN_FILE")):
        raise ClientError("there is no token", hint="set PENSTOCK_TOKEN or PENSTOCK_TOKEN_FILE")
    try:
        return Path(named).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"PENSTOCK_TOKEN_FILE cannot be read: {error}") from error
