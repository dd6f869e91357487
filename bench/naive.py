"""The design that most importers begin with: chunks of rows, looked up and written through an ORM."""

import asyncio
import csv
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.by_hand import TABLE
from bench.running import TENANT
from shared.platform.database import async_url

CHUNK = 5_000  # records
_SCHEMA, _NAME = TABLE.split(".")
_Record = dict[str, str]


class _Base(DeclarativeBase):
    pass


class _Product(_Base):
    __tablename__ = _NAME
    __table_args__ = {"schema": _SCHEMA}  # noqa: RUF012 - SQLAlchemy's own form

    tenant: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    sku: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]


def load(url: str, file: Path) -> float:
    """Seconds to read `file` and create or update its products in the table made by `by_hand.create_table`."""
    began = time.perf_counter()
    asyncio.run(_load(url, file))
    return time.perf_counter() - began


async def _load(url: str, file: Path) -> None:
    engine = create_async_engine(async_url(url))
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for chunk in _chunks(csv.DictReader(stream)):
                async with AsyncSession(engine) as session, session.begin():
                    await _load_chunk(session, chunk)
    finally:
        await engine.dispose()


async def _load_chunk(session: AsyncSession, chunk: list[_Record]) -> None:
    records = {record["sku"].lower(): record for record in chunk}
    query = select(_Product).where(_Product.tenant == TENANT, _Product.key.in_(records))
    existing = {product.key: product for product in await session.scalars(query)}
    for key, record in records.items():
        if product := existing.get(key):
            product.sku, product.name, product.description = (
                record["sku"],
                record["name"],
                record["description"],
            )
    session.add_all(
        _Product(tenant=TENANT, key=key, **record) for key, record in records.items() if key not in existing
    )
    await session.flush()


def _chunks(records: Iterable[_Record]) -> Iterator[list[_Record]]:
    records = iter(records)
    while chunk := list(islice(records, CHUNK)):
        yield chunk
