"""Alembic's environment for every service: runs the revisions of one schema, as its role, in one transaction."""

from alembic import context
from sqlalchemy import Connection, text

attributes = context.config.attributes
connection: Connection = attributes["connection"]
schema: str = attributes["schema"]
role: str | None = attributes["role"]

if role is None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
else:
    connection.execute(text(f"SET ROLE {role}"))
context.configure(connection=connection, version_table="alembic_version", version_table_schema=schema)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
connection.execute(text("RESET ROLE"))
connection.commit()
