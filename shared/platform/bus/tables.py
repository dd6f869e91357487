"""The bus's own tables, in schema `bus`: they are the broker of the embedded transport and the outbox of both."""

from typing import NamedTuple

from faststream_outbox import make_dlq_table, make_outbox_table
from sqlalchemy import MetaData, Table


class BusTables(NamedTuple):
    outbox: Table
    dead_letters: Table


def define_tables(metadata: MetaData) -> BusTables:
    """The outbox and the dead letters, as `faststream-outbox` wants them, attached to `metadata`."""
    return BusTables(make_outbox_table(metadata, "outbox"), make_dlq_table(metadata, "dead_letters"))


TABLES = define_tables(MetaData(schema="bus"))
