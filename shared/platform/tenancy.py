"""One tenant's transactions: what a request reads or changes in PostgreSQL, it does as a role under row-level security.

The first wall is the query, which names its tenant. This is the second one: in these transactions the service's own role
is put aside for `penstock_<service>_tenant`, which sees and writes the rows of one tenant only, whatever a query says.
Consumers, which act for all tenants, go on as the service itself; so does intake, which counts what waits of all of them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.platform.database import TENANT_ROLE_SUFFIX

TENANT_SETTING = "penstock.tenant"  # what the policies compare with

# All of it in one round trip, and until the transaction's end: a pooled connection comes back as it was.
_ACT_FOR = text(f"""
    SELECT set_config('role', current_user || '{TENANT_ROLE_SUFFIX}', true),
        set_config('{TENANT_SETTING}', :tenant, true)
""")
_ONLY_READ_FOR = text(f"""
    SELECT set_config('role', current_user || '{TENANT_ROLE_SUFFIX}', true),
        set_config('{TENANT_SETTING}', :tenant, true),
        set_config('transaction_read_only', 'on', true)
""")


@asynccontextmanager
async def tenant_reading(engine: AsyncEngine, tenant: str) -> AsyncIterator[AsyncConnection]:
    """A read-only transaction that sees the rows of `tenant`. `engine` is a service's (`engine_for`)."""
    async with engine.connect() as connection:
        await connection.execute(_ONLY_READ_FOR, {"tenant": tenant})
        yield connection


@asynccontextmanager
async def tenant_writing(engine: AsyncEngine, tenant: str) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees and writes the rows of `tenant`; commits unless the block raises.

    A row of another tenant that the block inserts, or makes of one of its own, is refused by the database.
    """
    async with engine.begin() as connection:
        await connection.execute(_ACT_FOR, {"tenant": tenant})
        yield connection
