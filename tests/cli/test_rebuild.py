"""`penstock rebuild`: in a few words, how wrong the read model was."""

import subprocess
import sys
from pathlib import Path

import asyncpg

import penstock as penstock_package
from tests.cli.given import penstock
from tests.results.given import Database


async def test_it_says_what_it_mended(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await Database(connection).uploaded_import()
    await Database(connection).uploaded_import(tenant="other")
    await connection.execute(
        "INSERT INTO results.imports (tenant, import_id, dataset, status)"
        " SELECT 'acme', gen_random_uuid(), 'books', 'pending'"
    )
    await connection.close()
    command, database = ("rebuild", "results"), {"PENSTOCK_DATABASE_URL": database_url}

    done = penstock(*command, "--tenant", "acme", **database)
    assert (done.returncode, done.stdout) == (
        0,
        "Rebuilt 1 import: 1 was missing, 0 were different, 1 was none of upload's.\n",
    ), done.stderr
    assert penstock(*command, **database).stdout == (
        "Rebuilt 2 imports: 1 was missing, 0 were different, 0 were none of upload's.\n"
    )
    refused = penstock(*command, "--tenant", "", **database)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "tenant" in refused.stderr


def test_an_image_without_results_says_where_to_run_it(tmp_path: Path) -> None:
    """Each service's image has its own code alone."""
    root = Path(penstock_package.__file__).parents[1]
    (tmp_path / "services").mkdir()
    for part in ("penstock", "shared", "services/__init__.py", "services/upload"):
        (tmp_path / part).symlink_to(root / part)
    done = subprocess.run(
        [sys.executable, "-c", "from penstock.cli import main; main()", "rebuild", "results"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "services.results is not installed here; run this command where it is, in containers with:"
        " docker compose exec results penstock …\n"
    )
