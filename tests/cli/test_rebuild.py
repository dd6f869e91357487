"""`penstock rebuild`: in a few words, how wrong the read model was."""

import asyncpg

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
