"""`penstock run-job`: a job by hand, in this process, beside the services or without them."""

import asyncio
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import typer

from penstock.embedded import set_defaults
from penstock.serving import check_settings
from services.notifier.app import jobs_by_hand
from services.notifier.jobs.by_hand import Waiting
from services.notifier.jobs.history import job_named
from services.notifier.jobs.resources import EARLIEST, JobRun
from shared.platform import logs

DONE, FAILED = 0, 1  # exit codes


@dataclass(frozen=True)
class Order:
    """What to run. `logical_date` None: yesterday; `tenant` None: all for whom the job is due."""

    job: str
    logical_date: date | None
    tenant: str | None


def run(database_url: str, order: Order, *, as_json: bool) -> int:
    """Run it for one tenant after the other and say what came of it.

    Returns:
        DONE, or FAILED if it did not succeed for some tenant.

    Raises:
        SettingsInvalid: the environment is not fit for the notifier.
        Problem: there is no such job, nothing to do for this tenant, or the date is not over.
        ValueError: the date is before all that there is.
    """
    if order.logical_date is not None and order.logical_date < EARLIEST:
        raise ValueError(f"--date: {order.logical_date} is before {EARLIEST}; write it as 2026-03-01")
    # No token is checked here, so any secret does.
    set_defaults({"PENSTOCK_DATABASE_URL": database_url, "PENSTOCK_JWT_SECRET": secrets.token_hex(32)})
    check_settings(["notifier"])
    logs.configure(level=os.environ.get("PENSTOCK_LOG_LEVEL") or "error", style="console")
    runs = asyncio.run(_run(order, as_json=as_json))
    if as_json:
        typer.echo(
            json.dumps([{"tenant": tenant, **run.model_dump(mode="json")} for tenant, run in runs], indent=2)
        )
    return DONE if all(run.status == "succeeded" for _, run in runs) else FAILED


async def _run(order: Order, *, as_json: bool) -> Sequence[tuple[str, JobRun]]:
    runs = []
    async with jobs_by_hand() as by_hand:
        job = job_named(by_hand.jobs, order.job)
        logical_date = order.logical_date or await by_hand.yesterday()
        tenants = [order.tenant] if order.tenant else await by_hand.tenants(job)
        if not tenants:
            _aside(f"The job {job.name} has nothing to do for any tenant.")
        for tenant in tenants:
            done = await by_hand.run(job, tenant, logical_date, _waits_for(job.name, logical_date))
            if not as_json:
                _report(tenant, done)
            runs.append((tenant, done))
    return runs


def _waits_for(job: str, logical_date: date) -> Waiting:
    def say(tenant: str, under_way: date) -> None:
        which = "it" if under_way == logical_date else f"it for {under_way.isoformat()}"
        _aside(f"{job} for {tenant}: another process is running {which}; waiting until that has ended.")

    return say


def _report(tenant: str, run: JobRun) -> None:
    what = f"{run.job} for {tenant}, {run.date.isoformat()}: {run.status}"
    if run.status == "succeeded":
        typer.echo(what)
        if run.result:
            typer.echo(json.dumps(run.result, indent=2))
        return
    again = (
        f"; it is tried again at {run.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC" if run.next_attempt_at else ""
    )
    _aside(f"{what}: {run.error}{again}")


def _aside(line: str) -> None:
    typer.echo(line, err=True)
