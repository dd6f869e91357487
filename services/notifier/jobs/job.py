"""What a job is: something that is due once a day for a tenant, for each date again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True)
class Job:
    """Work that is due once for each logical date, the day that it is about.

    Attributes:
        name: What rows, the API and the CLI call it: `daily-analysis`.
        description: A sentence for whoever looks at the list of jobs.
        at: Local time, in the zone of the deployment, of the day after the logical date at which it is due.
        run: Does it for a tenant and a logical date; its result is JSON. It may be cancelled or killed in any step and
            is then run again, so running it twice does no more than once. Whatever it raises fails the attempt.
        tenants: For whom it is due.
        after: The job that must have ended for the same tenant and date before, succeeded or failed, where that is due.
    """

    name: str
    description: str
    at: time
    run: Callable[[str, date], Awaitable[Mapping[str, Any]]]
    tenants: Callable[[AsyncConnection], Awaitable[Sequence[str]]]
    after: str | None = None
