"""COPY ends with its connection, also when that is lost while the server takes nothing more."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.processor.copying import copy, copy_records
from shared.platform.database import async_url

ROW = b"x" * 65_535 + b"\n"


class Line:
    """A line to PostgreSQL that can be held up, and cut."""

    def __init__(self, url) -> None:
        self.url = url
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def begin(self) -> None:
        host, port = self.url.query.get("host") or self.url.host, self.url.query.get("port") or self.url.port
        self._target = (
            f"{host}/.s.PGSQL.{port or 5432}" if str(host).startswith("/") else (host, port or 5432)
        )
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.through = self.url.set(host="127.0.0.1", port=port, query={"ssl": "disable"})

    async def _carry(self, reader, writer) -> None:
        if isinstance(self._target, str):
            there, back = await asyncio.open_unix_connection(self._target)
        else:
            there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, reader, writer) -> None:
        while data := await reader.read(65_536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()

    def hold(self) -> None:
        self._open.clear()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def end(self) -> None:
        self._open.set()
        self.cut()
        self._server.close()


@pytest.fixture
async def line(database_url):
    line = Line(async_url(database_url))
    await line.begin()
    yield line
    await line.end()


def pieces(line: Line, last: bytes) -> Iterator[bytes]:
    """Rows; no byte gets through after the first few, and then there is no line at all."""
    for number in range(1_000):
        if number == 20:
            line.hold()
            asyncio.get_running_loop().call_later(0.3, line.cut)
        yield last


async def by_pieces(connection: AsyncConnection, line: Line) -> None:
    await copy(connection, "target", ["value"], pieces(line, ROW))


async def by_records(connection: AsyncConnection, line: Line) -> None:
    await copy_records(connection, "target", ["value"], ((row.decode(),) for row in pieces(line, ROW)))


async def in_a_transaction(engine, line, way) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TEMP TABLE target (value text)"))
        async with connection.begin_nested():
            await way(connection, line)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("way", [by_pieces, by_records])
async def test_a_copy_ends_when_its_connection_is_lost(line, way):
    engine = create_async_engine(line.through)
    try:
        with pytest.raises(ConnectionResetError, match="lost in the middle of a COPY"):
            await in_a_transaction(engine, line, way)
    finally:
        await engine.dispose()
