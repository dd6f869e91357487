"""PostgreSQL: one engine, one schema and one role for each service; migrations forward only.

A service connects with `PENSTOCK_DATABASE_URL` and takes on its own role (`penstock_<service>`) for every
session, so it can touch its own schema and the views that others published for it, and nothing else. What it does for
one tenant it does in a lesser role, `penstock_<service>_tenant` (`shared.platform.tenancy`).
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool
from sqlalchemy.util import await_only

from shared.platform.pooler import Pooler, connect_args
from shared.platform.revisions import SchemaState, revisions_in, state_of
from shared.platform.telemetry.exposition import Source
from shared.platform.telemetry.figures import DATABASE_CONNECTIONS, Sample

MINIMUM_VERSION = 18  # MERGE … RETURNING old/new, uuidv7()
TENANT_ROLE_SUFFIX = "_tenant"
_PLATFORM_MIGRATIONS = Path(__file__).parent / "migrations"


# How long a revision waits for a lock, in milliseconds, try after try, with a pause as long after each. Whoever comes later
# queues behind it, so it gives up soon; and before the second after which PostgreSQL looks for deadlocks, so that one ends
# the revision, which is tried again, and no request. The long waits are for an import that holds what is wanted.
LOCK_WAITS_MS = (800,) * 30 + (10_000,) * 6
_NO_LOCK = {"55P03", "40P01"}  # SQLSTATE: lock not available, deadlock detected


class DatabaseUnfit(RuntimeError):
    """The server cannot be used: too old, or the login may not do what migrations need. Nothing was changed."""


class DatabaseBusy(RuntimeError):
    """A revision did not get its locks. It changed nothing; those before it stay done."""


@dataclass(frozen=True)
class Migrations:
    """The migrations of one service.

    Attributes:
        schemas: What it owns; its revisions are counted in the first one.
        versions: The folder of its revisions.
        reads: Services whose views it reads.
        serves_tenants: Whether it answers requests, each of one tenant, and so has a role that sees one tenant only.
    """

    service: str
    schemas: Sequence[str]
    versions: Path
    serves_tenants: bool = True
    reads: Sequence[str] = ()


PLATFORM = Migrations("platform", ("bus",), _PLATFORM_MIGRATIONS / "versions", serves_tenants=False)


def role_of(service: str) -> str:
    return f"penstock_{service}"


def tenant_role_of(service: str) -> str:
    """The role in which the service acts for one tenant (`shared.platform.tenancy`)."""
    return role_of(service) + TENANT_ROLE_SUFFIX


def async_url(url: str) -> URL:
    """`url` with SQLAlchemy's asyncpg driver, whatever driver or short form it names."""
    return make_url(url).set(drivername="postgresql+asyncpg")


def engine_for(
    url: str,
    service: str,
    *,
    pool_size: int,
    max_overflow: int = 5,
    pooler: Pooler = "none",
    statement_seconds: float | None = None,
) -> AsyncEngine:
    """An engine whose every transaction acts as the service's role and sees its schema first.

    `pooler`: what `url` leads to. Behind one (`transaction`) no state of a session outlives its transaction.
    `statement_seconds`: after which a statement ends with TimeoutError; none by default.
    """
    settings = {
        "role": role_of(service),
        "search_path": service,
        # A process that stops in the middle must not hold its locks for ever.
        "idle_in_transaction_session_timeout": "60s",
    }
    name = f"penstock-{service}"
    direct = {"server_settings": {**settings, "application_name": name}}
    engine = create_async_engine(
        async_url(url),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,  # those that are used have their statements prepared
        hide_parameters=True,  # errors are logged; what somebody sent is not
        connect_args={
            "timeout": 10,  # seconds until a server that does not answer counts as away
            "command_timeout": statement_seconds,
            **(direct if pooler == "none" else connect_args(settings, name)),
        },
    )
    _begin_at_once(engine.sync_engine)
    return engine


def _begin_at_once(engine: Engine) -> None:
    """See that a connection is alive before it is used, as `pool_pre_ping` does, by the BEGIN that comes anyway.

    The driver would send it with the first statement, which is too late for another connection. To ask first takes
    three round trips, as many as a short transaction itself; to begin a little earlier takes none.
    """

    @event.listens_for(engine, "checkout")
    def taken(connection: Any, _: ConnectionPoolEntry, __: Any) -> None:
        try:
            await_only(connection._start_transaction())  # nothing public begins without a statement
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def advisory_key(name: str) -> int:
    """A PostgreSQL advisory lock key (signed 64 bit) for `name`."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def migrate(url: str, services: Sequence[Migrations]) -> None:
    """Bring the schemas of the platform and of `services` to their newest revision. Safe to run twice, or at once.

    What a later version of Penstock has migrated stays as it is.

    Raises:
        DatabaseUnfit: the server is older than PostgreSQL 18.
        DatabaseBusy: others kept locked what a revision changes.
    """
    asyncio.run(migrate_async(url, services))


async def migrate_async(url: str, services: Sequence[Migrations]) -> None:
    """`migrate` for a caller inside an event loop."""
    engine = create_async_engine(async_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate_locked, services)
    finally:
        await engine.dispose()


def _migrate_locked(connection: Connection, services: Sequence[Migrations]) -> None:
    version = int(connection.scalar(text("SELECT current_setting('server_version_num')::int / 10000")) or 0)
    if version < MINIMUM_VERSION:
        raise DatabaseUnfit(f"PostgreSQL {version} is too old; Penstock needs {MINIMUM_VERSION} or later")
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": advisory_key("penstock:migrate")})
    connection.commit()
    try:
        for migrations in services:
            _create_role(connection, role_of(migrations.service))
            if migrations.serves_tenants:
                _create_tenant_role(connection, migrations.service)
        connection.commit()
        _upgrade(connection, PLATFORM.schemas[0], PLATFORM.versions)
        for migrations in services:
            _grant_platform(connection, role_of(migrations.service))
            if migrations.serves_tenants:
                _grant_keys(connection, role_of(migrations.service))
                _grant_sessions(connection, role_of(migrations.service))
                _grant_outbox(connection, tenant_role_of(migrations.service))
            _create_schemas(connection, migrations)
            connection.commit()
            _upgrade(connection, migrations.schemas[0], migrations.versions, role=role_of(migrations.service))
        for migrations in services:
            _grant_revisions(connection, migrations, frozenset(each.service for each in services))
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": advisory_key("penstock:migrate")})
        connection.commit()


def _create_role(connection: Connection, role: str) -> None:
    """Make the role, if it is not there, and let the login act as it."""
    _create_nobody(connection, role)
    connection.execute(
        text(f"""DO $$ BEGIN
            IF NOT pg_has_role(current_user, '{role}', 'SET') THEN
                EXECUTE format('GRANT {role} TO %I', current_user);
            END IF;
        END $$""")
    )


def _create_tenant_role(connection: Connection, service: str) -> None:
    """Make the lesser role, and let whoever may act as the service step down to it.

    The service does not inherit from it: policies for the lesser role must not hold for the service itself.
    """
    role, tenant_role = role_of(service), tenant_role_of(service)
    _create_nobody(connection, tenant_role)
    connection.execute(
        text(f"""DO $$ BEGIN
            IF NOT pg_has_role('{role}', '{tenant_role}', 'SET') THEN
                GRANT {tenant_role} TO {role} WITH INHERIT FALSE, SET TRUE;
            END IF;
        END $$""")
    )


def _create_nobody(connection: Connection, role: str) -> None:
    # Roles belong to the whole server: another database's migration may create the same one meanwhile.
    connection.execute(
        text(f"""DO $$ BEGIN
            CREATE ROLE {role} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$""")
    )


def _grant_platform(connection: Connection, role: str) -> None:
    connection.execute(text(f"GRANT USAGE ON SCHEMA bus, auth TO {role}"))
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bus TO {role}"))
    connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA bus TO {role}"))


def _grant_keys(connection: Connection, role: str) -> None:
    """Let a service that answers requests check API keys."""
    connection.execute(text(f"GRANT SELECT, UPDATE (last_used_at) ON auth.api_keys TO {role}"))
    if role == role_of("upload"):
        _grant_key_keeping(connection, tenant_role_of("upload"))


def _grant_key_keeping(connection: Connection, tenant_role: str) -> None:
    """Let a tenant's request list, make and revoke API keys. It never reads a hash."""
    shown = "prefix, tenant, name, scopes, created_by, created_at, expires_at, last_used_at, revoked_at"
    connection.execute(text(f"GRANT USAGE ON SCHEMA auth TO {tenant_role}"))
    connection.execute(
        text(f"GRANT SELECT ({shown}), INSERT, UPDATE (revoked_at) ON auth.api_keys TO {tenant_role}")
    )


def _grant_sessions(connection: Connection, role: str) -> None:
    """Let a service that answers requests look sessions up, and `results` begin and end them."""
    rights = "SELECT, INSERT, DELETE" if role == role_of("results") else "SELECT"
    connection.execute(text(f"GRANT {rights} ON auth.sessions TO {role}"))


def _grant_outbox(connection: Connection, tenant_role: str) -> None:
    """Let a tenant's request publish events, without a look at those of others: what it inserted says its id and queue."""
    connection.execute(text(f"GRANT USAGE ON SCHEMA bus TO {tenant_role}"))
    connection.execute(text(f"GRANT INSERT, SELECT (id, queue) ON bus.outbox TO {tenant_role}"))
    connection.execute(text(f"GRANT USAGE ON SEQUENCE bus.outbox_id_seq TO {tenant_role}"))


def _grant_revisions(connection: Connection, migrations: Migrations, migrated: frozenset[str]) -> None:
    """Let a service see whether those whose views it reads are as new as it needs them."""
    for owner in migrated.intersection(migrations.reads):
        connection.execute(text(f"GRANT SELECT ON {owner}.alembic_version TO {role_of(migrations.service)}"))


def _create_schemas(connection: Connection, migrations: Migrations) -> None:
    for schema in migrations.schemas:
        connection.execute(
            text(f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {role_of(migrations.service)}")
        )


def _upgrade(connection: Connection, schema: str, versions: Path, role: str | None = None) -> None:
    config = Config()
    config.set_main_option("script_location", str(_PLATFORM_MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions))
    attributes: dict[str, Any] = {"connection": connection, "schema": schema, "role": role}
    config.attributes.update(attributes)
    if _state(connection, schema, versions).ahead:
        return None
    for wait_ms in LOCK_WAITS_MS:
        config.attributes["lock_wait_ms"] = wait_ms
        try:
            return command.upgrade(config, "head")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _NO_LOCK:
                raise
        connection.rollback()
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": wait_ms / 1000})
        connection.commit()
    raise DatabaseBusy(
        f"other sessions kept tables of the schema {schema} locked all the time. What is done so far stays; nothing is half"
        " done. End what runs for long (pg_stat_activity shows it) or stop the services, and migrate again"
    )


def _state(connection: Connection, schema: str, versions: Path) -> SchemaState:
    table = f"{schema}.alembic_version"
    at = None
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}):
        at = connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608 - ours
    connection.commit()
    return state_of(schema, at, revisions_in(versions))


def pool_figures(service: str, engine: AsyncEngine) -> Source:
    """Reads how many connections of the engine's pool are in use."""

    async def read() -> Sequence[Sample]:
        pool = cast("QueuePool", engine.pool)
        figures = {
            "in_use": pool.checkedout(),
            "idle": pool.checkedin(),
            "limit": pool.size() + pool._max_overflow,
        }
        return [DATABASE_CONNECTIONS.of(value, service, state) for state, value in figures.items()]

    return read


async def connect_raw(url: str) -> "asyncpg.Connection[Any]":
    """A session of its own, outside any pool: for LISTEN and for locks that last as long as the process."""
    options = async_url(url)
    _, arguments = _DIALECT.create_connect_args(options)
    return await asyncpg.connect(**arguments, timeout=10)


_DIALECT = async_url("postgresql://").get_dialect()()
