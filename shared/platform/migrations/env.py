"""Alembic's environment for every service: runs the revisions of one schema, as its role, each in its own transaction.

A revision that does not get a lock in time fails, and what came before it stays (`shared.platform.database`).
"""

from alembic import context
from sqlalchemy import Connection, text

attributes = context.config.attributes
connection: Connection = attributes["connection"]
schema: str = attributes["schema"]
role: str | None = attributes["role"]
lock_wait_ms: int = attributes["lock_wait_ms"]

if role is None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
else:
    connection.execute(text(f"SET ROLE {role}"))
connection.execute(text(f"SET lock_timeout = {lock_wait_ms}"))
connection.commit()
context.configure(
    connection=connection,
    version_table="alembic_version",
    version_table_schema=schema,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
connection.execute(text("RESET lock_timeout"))
connection.execute(text("RESET ROLE"))
connection.commit()
