"""The tables in code are the tables that the migrations make."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from services.notifier.tables import metadata
from shared.platform.database import async_url


async def test_tables_are_as_migrated(database_url):
    def differences(connection: Connection) -> list[Any]:
        def ours(name: str | None, kind: str, _: object) -> bool:
            return name == "notifier" if kind == "schema" else name != "alembic_version"

        options = {"include_schemas": True, "include_name": ours}
        context = MigrationContext.configure(connection, opts=options)
        kinds = {"add_table", "remove_table", "add_column", "remove_column"}
        found = compare_metadata(context, metadata)
        flat = [each for entry in found for each in (entry if isinstance(entry, list) else [entry])]
        return [each for each in flat if each[0] in kinds or each[0].startswith("modify_nullable")]

    engine = create_async_engine(async_url(database_url))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
