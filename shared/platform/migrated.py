"""Which revisions a database has: what `migrate` would do, and which services may start."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from shared.platform.database import PLATFORM, Migrations, connect_raw, role_of
from shared.platform.revisions import SchemaState, is_behind, revisions_in, state_of

_NOTHING_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)
# Nor may it be read, or acted as, before `migrate` has said so.
_NOT_MIGRATED = (*_NOTHING_THERE, asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)


async def states(url: str, services: Sequence[Migrations]) -> Sequence[SchemaState]:
    """How each schema stands, that of the platform first. Changes nothing and waits for no migration."""
    connection = await connect_raw(url)
    try:
        found = []
        for each in (PLATFORM, *services):
            schema = each.schemas[0]
            found.append(state_of(schema, await _at(connection, schema), revisions_in(each.versions)))
        return found
    finally:
        connection.terminate()


def states_now(url: str, services: Sequence[Migrations]) -> Sequence[SchemaState]:
    """`states` for a caller without an event loop."""
    return asyncio.run(states(url, services))


async def lacking(url: str, service: str, needed: Mapping[str, str]) -> Sequence[str]:
    """Which of the revisions that `service` needs, by schema, the database does not have yet. One further on will do."""
    connection = await connect_raw(url)
    try:
        try:
            await connection.execute(f"SET ROLE {role_of(service)}")
        except _NOT_MIGRATED:
            return list(needed.values())
        return [
            revision
            for schema, revision in needed.items()
            if is_behind(await _at(connection, schema, _NOT_MIGRATED), revision)
        ]
    finally:
        connection.terminate()


async def _at(
    connection: "asyncpg.Connection[Any]",
    schema: str,
    not_there: tuple[type[Exception], ...] = _NOTHING_THERE,
) -> str | None:
    try:
        revision: str | None = await connection.fetchval(f"SELECT version_num FROM {schema}.alembic_version")  # noqa: S608 - ours
    except not_there:
        return None
    return revision
