"""One attempt at a run: the job's own work, outside of any transaction, and what is written down of it.

claim ──► the job runs ──► `write_down`: an attempt, and what becomes of the run
              crash here: whoever sees that the process is gone writes it down, and runs the job again
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.jobs import repository
from services.notifier.jobs.calendar import retry_delay
from services.notifier.jobs.job import Job
from services.notifier.jobs.runs import Claimed, Ending
from shared.contracts.problems import Problem
from shared.platform.logs import bound, get_logger
from shared.platform.presence import is_alive
from shared.platform.telemetry.tracing import span

MAX_ERROR = 500  # characters; all of it is in the log

STOPPED = Ending(
    "pending", error="its process stopped in the middle; it is run again", retry_in=timedelta(), counts=False
)
_GONE = "the process that ran it ended in the middle"
# User names and passwords in URLs, and what parameters call so.
_SECRETS = re.compile(
    r"(?<=://)\S*(?=@)|(?<=password=)[^\s&]+|(?<=token=)[^\s&]+|(?<=secret=)[^\s&]+", re.IGNORECASE
)

log = get_logger(__name__)


@dataclass(frozen=True)
class News:
    """What somebody should hear of a job.

    Attributes:
        what: `failed`: the run of this date failed for good. `mended`: it has succeeded, and so has every other date of
            this job that had failed for good.
        error: Of the last attempt, where it failed.
    """

    claimed: Claimed
    what: Literal["failed", "mended"]
    happened_at: datetime
    error: str | None = None


# Tells it in the transaction that writes it down.
Tell = Callable[[AsyncConnection, News], Awaitable[None]]


@dataclass(frozen=True)
class Books:
    """Where attempts are written down.

    Attributes:
        tell: Hears what somebody should hear.
        ahead: How far time is ahead of the database's, for trials of what takes days.
    """

    engine: AsyncEngine
    tell: Tell
    ahead: Callable[[], timedelta] = timedelta

    async def write_down(self, claimed: Claimed, ending: Ending) -> None:
        """Write down how an attempt ended, unless the run was taken over since."""
        async with self.engine.begin() as connection:
            await self.write(connection, claimed, ending)

    async def write(self, connection: AsyncConnection, claimed: Claimed, ending: Ending) -> None:
        """`write_down` in the caller's transaction."""
        before = await repository.end(connection, claimed, ending, self.ahead())
        if before is None:
            log.warning("job.taken_over", **_named(claimed))
            return
        if ending.status == "failed":
            log.error("job.failed", **_named(claimed), tries=claimed.tries, error=ending.error)
            await self._tell(connection, News(claimed, "failed", before.ended_at, ending.error))
        elif (
            ending.status == "succeeded"
            and before.given_up_at is not None
            and not await repository.any_given_up(connection, claimed.tenant, claimed.job)
        ):
            await self._tell(connection, News(claimed, "mended", before.ended_at))

    async def free_abandoned(self, connection: AsyncConnection, *, runner: int) -> None:
        """Write down of every run whose process is gone that it is, so that another runs it. `runner` is the caller's own."""
        alive = {runner: True}
        for claimed, by in await repository.running(connection):
            if by not in alive:
                alive[by] = await is_alive(connection, by)
            if not alive[by]:
                log.warning("job.abandoned", **_named(claimed), tries=claimed.tries)
                await self.write(connection, claimed, _failed(claimed, _GONE, timedelta()))

    async def _tell(self, connection: AsyncConnection, news: News) -> None:
        try:
            async with connection.begin_nested():
                await self.tell(connection, news)
        except Exception:
            # How it ended is worth more than who hears of it.
            log.exception("job.not_told", **_named(news.claimed))


async def attempted(job: Job, claimed: Claimed) -> Ending:
    """Do what is claimed: how it ended. Raises nothing but what cancels it."""
    with bound(**_named(claimed)), span(f"job {claimed.job}", parent=None):
        log.info("job.started", tries=claimed.tries)
        try:
            result = await job.run(claimed.tenant, claimed.logical_date)
            _see_storable(result)
        except Exception as error:
            log.warning("job.attempt_failed", tries=claimed.tries, exc_info=error)
            return _failed(claimed, said_of(error), retry_delay(claimed.tries))
        log.info("job.succeeded", tries=claimed.tries)
        return Ending("succeeded", result=result)


def _see_storable(result: Mapping[str, Any]) -> None:
    document = json.dumps(result, allow_nan=False, ensure_ascii=False).encode()
    if rb"\u0000" in document:
        raise ValueError("the result has a character U+0000, which cannot be stored")


def _failed(claimed: Claimed, error: str, retry_in: timedelta | None) -> Ending:
    if retry_delay(claimed.tries) is None or retry_in is None:
        return Ending("failed", error=error)
    return Ending("pending", error=error, retry_in=retry_in)


def said_of(error: Exception) -> str:
    """An error in one line: the first of its own, without the passwords of URLs."""
    said = error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
    storable = said.replace("\0", "").encode(errors="replace").decode()
    line = storable.strip().partition("\n")[0].removesuffix(":")
    return _SECRETS.sub("…", line)[:MAX_ERROR]


def _named(claimed: Claimed) -> dict[str, str]:
    return {
        "job": claimed.job,
        "tenant": claimed.tenant,
        "logical_date": claimed.logical_date.isoformat(),
    }
