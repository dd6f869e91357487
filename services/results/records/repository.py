"""The SQL of records, as it is sent."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Numeric,
    Select,
    Text,
    TextClause,
    Uuid,
    bindparam,
    literal_column,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from services.results.records.conditions import ParameterType, Statement
from services.results.tables import AnyRow

_TYPES: Mapping[ParameterType, TypeEngine[Any]] = MappingProxyType(
    {
        "string": Text(),
        "integer": BigInteger(),
        "number": Numeric(),
        "boolean": Boolean(),
        "date": Date(),
        "datetime": DateTime(timezone=True),
        "year": BigInteger(),
        "uuid": Uuid(),
        "string[]": ARRAY(Text()),
        "integer[]": ARRAY(BigInteger()),
        "number[]": ARRAY(Numeric()),
        "date[]": ARRAY(Date()),
        "year[]": ARRAY(BigInteger()),
        "uuid[]": ARRAY(Uuid()),
    }
)


# What looks cheaper for a whole table, when a page is all that is wanted and an index has its order.
_WALK = text("""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_sort', 'off', true)
""")


async def walk(connection: AsyncConnection) -> None:
    """Have the statements of this transaction go along an index whose order they ask for."""
    await connection.execute(_WALK)


async def rows_of(connection: AsyncConnection, statement: Statement) -> Sequence[AnyRow]:
    return (await connection.execute(clause_of(statement))).all()


async def row_of(connection: AsyncConnection, statement: Statement) -> AnyRow | None:
    return (await connection.execute(clause_of(statement))).one_or_none()


async def planned(connection: AsyncConnection, explained: Statement) -> Sequence[float]:
    """How many rows the planner expects of each part of an explained UNION ALL."""
    [[[document]]] = await rows_of(connection, explained)
    return [part["Plan Rows"] for part in document["Plan"]["Plans"]]


def clause_of(statement: Statement) -> TextClause:
    return text(statement.sql).bindparams(*_bound(statement))


def counted(found: Statement) -> Select[Any]:
    """A query for all rows of what follows SELECT … in `found`."""
    # The FROM and the WHERE are one piece of text.
    everything = text(found.sql.removeprefix("FROM ")).bindparams(*_bound(found))
    return select(literal_column("r.key").label("key")).select_from(everything)


def _bound(statement: Statement) -> list[Any]:
    return [
        bindparam(name, parameter.value, type_=_TYPES[parameter.type])
        for name, parameter in statement.parameters.items()
    ]
