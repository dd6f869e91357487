"""A job by hand from the command line, with nothing but a database."""

import json
from datetime import date
from pathlib import Path

import asyncpg
import pytest

from penstock.cli import JOBS
from services.notifier.analyses.analysing import JOB as ANALYSIS
from services.notifier.backfill.backfilling import NAME as BACKFILL
from tests.cli.given import penstock


def test_the_help_names_all_jobs() -> None:
    assert set(JOBS) == {ANALYSIS, BACKFILL}


@pytest.fixture
async def suppliers(database_url: str) -> list[str]:
    """Two tenants with a supplier each."""
    connection = await asyncpg.connect(database_url)
    tenants = ["acme", "mill"]
    for tenant in tenants:
        await connection.execute(
            "INSERT INTO notifier.suppliers (tenant, id, name) VALUES ($1, 's-1', 'One')", tenant
        )
    await connection.close()
    return tenants


async def test_a_job_runs_for_all_for_whom_it_is_due(
    database_url: str, suppliers: list[str], tmp_path: Path
) -> None:
    settings = {"PENSTOCK_DATABASE_URL": database_url, "PENSTOCK_HOME": str(tmp_path / "none")}
    done = penstock("run-job", ANALYSIS, "--date", "2026-03-01", "--json", **settings)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert [(run["tenant"], run["date"], run["status"]) for run in runs] == [
        (tenant, "2026-03-01", "succeeded") for tenant in suppliers
    ]
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT tenant, logical_date, requested_by FROM notifier.job_runs ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        (tenant, date(2026, 3, 1), "penstock run-job") for tenant in suppliers
    ]
    await connection.close()
    assert not (tmp_path / "none").exists()


def test_a_date_that_nothing_can_be_about_is_refused(database_url: str) -> None:
    refused = penstock("run-job", ANALYSIS, "--date", "0001-01-01", PENSTOCK_DATABASE_URL=database_url)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "--date: 0001-01-01 is before 1970-01-01; write it as 2026-03-01"
