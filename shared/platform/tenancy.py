"""One tenant's transactions: what a request reads or changes in PostgreSQL, it does as a role under row-level security.

The first wall is the query, which names its tenant. This is the second one: in these transactions the service's own role
is put aside for `penstock_<service>_tenant`, which sees and writes the rows of one tenant only, whatever a query says.
Consumers, which act for all tenants, go on as the service itself; so does intake, which counts what waits of all of them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import MappingProxyType

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.platform.database import TENANT_ROLE_SUFFIX

TENANT_SETTING = "penstock.tenant"  # what the policies compare with

# All of it in one round trip, and until the transaction's end: a pooled connection comes back as it was.
_ACT_FOR = text(f"""
    SELECT set_config('role', current_user || '{TENANT_ROLE_SUFFIX}', true),
        set_config('{TENANT_SETTING}', :tenant, true)
""")
_ONLY_READ = {"transaction_read_only": "on"}


@cache
def _only_read_for(names: tuple[str, ...]) -> TextClause:
    """The same, with further settings whose values are parameters of these names."""
    more = "".join(f", set_config('{name}', :{name}, true)" for name in names)
    return text(f"{_ACT_FOR.text} {more}")


@asynccontextmanager
async def tenant_reading(
    engine: AsyncEngine, tenant: str, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[AsyncConnection]:
    """A read-only transaction that sees the rows of `tenant`.

    Args:
        engine: A service's (`engine_for`).
        tenant: Whose rows.
        settings: Further settings of PostgreSQL for this transaction.
    """
    values = _ONLY_READ | dict(settings)
    async with engine.connect() as connection:
        await connection.execute(_only_read_for(tuple(values)), {"tenant": tenant, **values})
        yield connection


@asynccontextmanager
async def tenant_writing(engine: AsyncEngine, tenant: str) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees and writes the rows of `tenant`; commits unless the block raises.

    A row of another tenant that the block inserts, or makes of one of its own, is refused by the database.
    """
    async with engine.begin() as connection:
        await connection.execute(_ACT_FOR, {"tenant": tenant})
        yield connection
