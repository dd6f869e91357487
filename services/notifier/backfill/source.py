"""Reading ClickHouse over HTTP: in order of time, block by block, in memory that does not grow with what is read."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from services.notifier.backfill.rows import ID_LENGTH, Priced, Row, moment_of
from services.notifier.backfill.sources import Address, Sources, SourceTable
from services.notifier.backfill.windows import Window

CONNECT_SECONDS = 10
ANSWER_SECONDS = 120  # until the next bytes come: a table that is not in order of time is sorted first
BLOCK_ROWS = 8_192  # some blocks are under way at a time, of some MB each

UNKNOWN_TABLE = 60  # an error code of ClickHouse
_DATES = {"Date", "Date32"}
# An index looks at the column itself, whatever zone its times are in: none is further from UTC than this.
_ZONES_MICROSECONDS = 2 * 86_400 * 1_000_000


class ClickHouseFailed(RuntimeError):
    """ClickHouse is away, refuses, or has not what settings say. What was taken over stays; the run is tried again."""


@asynccontextmanager
async def connected(sources: Sources, zone: ZoneInfo) -> AsyncIterator["ClickHouse"]:
    """ClickHouse, its tables and columns looked at.

    Args:
        zone: Of the deployment's days.

    Raises:
        ClickHouseFailed
    """
    address = sources.address
    with _told(address):
        client = await create_async_client(
            interface=address.scheme,
            host=address.host,
            port=address.port,
            username=address.user,
            password=address.password,
            database=address.database,
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=ANSWER_SECONDS,
            settings={"max_block_size": BLOCK_ROWS},
        )
    async with client:
        found = ClickHouse(client, sources, zone)
        await found.look()
        yield found


class ClickHouse:
    """What it has, in the words of Penstock. Every method raises ClickHouseFailed.

    Attributes:
        missing: Tables that are not there, and that nobody named.
    """

    def __init__(self, client: AsyncClient, sources: Sources, zone: ZoneInfo) -> None:
        self._client = client
        self._sources = sources
        self._zone = zone
        self._types: dict[SourceTable, dict[str, str]] = {}
        self.missing: list[str] = []

    async def look(self) -> None:
        sources = self._sources
        for table in filter(None, (sources.errors, sources.reasons, sources.suppliers, sources.prices)):
            types = await self._described(table)
            if types is None:
                self.missing.append(str(table))
                continue
            if absent := [name for name in table.columns if name not in types]:
                raise ClickHouseFailed(
                    f"{table} in ClickHouse ({sources.address}) has no column {', '.join(absent)}; it has"
                    f" {', '.join(types)}. Name the columns in PENSTOCK_CLICKHOUSE_…_TABLE: table(column, column)"
                )
            self._types[table] = types

    async def _described(self, table: SourceTable) -> dict[str, str] | None:
        try:
            with _told(self._sources.address):
                result = await self._client.query(f"DESCRIBE TABLE {table.quoted}")
        except ClickHouseFailed as error:
            if getattr(error.__cause__, "code", None) == UNKNOWN_TABLE:
                if table in self._sources.not_needed:
                    return None
                raise ClickHouseFailed(
                    f"there is no table {table} in ClickHouse ({self._sources.address}); name the right one in"
                    " PENSTOCK_CLICKHOUSE_…_TABLE, or leave that empty to do without"
                ) from error
            raise
        return {row[0]: row[1] for row in result.result_rows}

    async def reasons(self) -> Mapping[str, str]:
        """What error ids mean: their texts."""
        return dict(await self._pairs(self._sources.reasons))

    async def suppliers(self) -> Mapping[str, str]:
        """Names by id, which stands in for a name that is empty."""
        pairs = await self._pairs(self._sources.suppliers)
        return {supplier: name or supplier for supplier, name in pairs if supplier}

    async def _pairs(self, table: SourceTable | None) -> Sequence[tuple[str, str]]:
        if table is None or table not in self._types:
            return []
        key, value = map(_text_of, table.columns)
        query = f"SELECT {key}, {value} FROM {table.quoted}"  # noqa: S608 - names are checked
        return [pair async for block in self._blocks(query, {}) for pair in zip(*block, strict=True)]

    async def errors(self, window: Window) -> AsyncIterator[Sequence[Row]]:
        """Blocks of errors in order of time."""
        table = self._sources.errors
        if table is None:
            return
        time, supplier, error = table.columns
        micros, where, values = self._timed(table, window)
        query = (
            f"SELECT {micros}, {_text_of(supplier)}, {_text_of(error)} FROM {table.quoted}"  # noqa: S608
            f" WHERE {where} ORDER BY `{time}`"
        )
        async for block in self._blocks(query, values):
            yield list(map(Row, *block))

    async def prices(self, window: Window) -> AsyncIterator[Sequence[Priced]]:
        """Blocks of what suppliers' files of a day had in prices, in order of days: ClickHouse adds them up."""
        table = self._sources.prices
        if table is None or table not in self._types:
            return
        _, supplier, column = table.columns
        micros, where, values = self._timed(table, window)
        price = f"toFloat64(`{column}`)"
        query = f"""
            SELECT max({micros}) AS last, {_text_of(supplier)} AS supplier_id, count() AS all_rows, count({price}),
                countIf({price} < 0), countIf({price} > 0), exp(avgIf(log({price}), {price} > 0 AND isFinite({price})))
            FROM {table.quoted} WHERE {where}
            GROUP BY toDate(fromUnixTimestamp64Micro({micros}, {{zone:String}})), supplier_id
            HAVING supplier_id <> ''
            ORDER BY toDate(fromUnixTimestamp64Micro(last, {{zone:String}})), supplier_id
        """  # noqa: S608 - names are checked
        async for block in self._blocks(query, values | {"zone": str(self._zone)}):
            yield list(map(Priced, *block))

    def _timed(self, table: SourceTable, window: Window) -> tuple[str, str, dict[str, Any]]:
        """Microseconds since 1970 of a row, which rows are in the window, and the values that this needs."""
        column = f"`{table.columns[0]}`"
        micros = f"toUnixTimestamp64Micro({self._moment(table)})"
        where = f"{micros} < {{until:Int64}} AND {column} < fromUnixTimestamp64Micro({{index_until:Int64}})"
        until = moment_of(window.until)
        values = {"until": until, "index_until": until + _ZONES_MICROSECONDS}
        if window.since is not None:
            where += f" AND {micros} >= {{since:Int64}} AND {column} >= fromUnixTimestamp64Micro({{index_since:Int64}})"
            since = moment_of(window.since)
            values |= {"since": since, "index_since": max(since - _ZONES_MICROSECONDS, 0)}
        return micros, where, values

    def _moment(self, table: SourceTable) -> str:
        """The instant of a row, whatever kind of time its column has."""
        name = table.columns[0]
        kind = self._types[table][name].removeprefix("Nullable(").removesuffix(")")
        zone = self._sources.times
        if kind in _DATES:
            return f"toDateTime64(`{name}`, 6, '{zone or self._zone}')"
        if not kind.startswith("DateTime"):
            raise ClickHouseFailed(
                f"{name} of {table} in ClickHouse ({self._sources.address}) is {kind}; it must be a DateTime or a Date"
            )
        if zone is None or "'" in kind:  # a zone of its own
            return f"toDateTime64(`{name}`, 6)"
        return f"toDateTime64(toString(`{name}`), 6, '{zone}')"

    async def _blocks(self, query: str, values: Mapping[str, Any]) -> AsyncIterator[Sequence[Sequence[Any]]]:
        """Blocks of columns."""
        with _told(self._sources.address):
            stream = await self._client.query_column_block_stream(query, parameters=dict(values))
            async with stream:
                async for block in stream:
                    yield block


def _text_of(column: str) -> str:
    """As PostgreSQL can keep it, and as long as an id may be; empty, where there is none."""
    text = f"replaceAll(toValidUTF8(ifNull(toString(`{column}`), '')), '\\0', '')"
    return f"leftUTF8(trimBoth({text}), {ID_LENGTH})"


@contextmanager
def _told(address: Address) -> Iterator[None]:
    """Says what ClickHouse's errors are about, and nothing of the password."""
    try:
        yield
    except (ClickHouseError, aiohttp.ClientError, OSError, EOFError) as error:
        code = f" (code {error.code})" if isinstance(error, Error) and error.code else ""
        told = str(error).replace(address.password, "…") if address.password else str(error)
        raise ClickHouseFailed(
            f"ClickHouse at {address} failed{code}: {told}; see that it runs and that PENSTOCK_CLICKHOUSE_URL is right"
        ) from error
