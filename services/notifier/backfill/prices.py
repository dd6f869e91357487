"""Price rows of a day as the file that its supplier sent: how many there were, and what the prices look like."""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.backfill import repository
from services.notifier.backfill.rows import Priced, instant, profile_of
from services.notifier.backfill.source import ClickHouse
from services.notifier.backfill.suppliers import Suppliers
from services.notifier.backfill.windows import Window

SOURCE = "prices"


async def take_over_prices(
    engine: AsyncEngine,
    source: ClickHouse,
    suppliers: Suppliers,
    tenant: str,
    windows: Sequence[Window],
    *,
    stage: str,
    zone: ZoneInfo,
) -> Mapping[str, int]:
    """One file for each supplier and day: rows that were read, and files that are new or were otherwise.

    Args:
        windows: In order of time, each beginning with a whole day.

    Raises:
        ClickHouseFailed: what was taken over until then stays.
    """
    read = kept = 0
    for window in windows:
        async for block in source.prices(window):
            last = instant(max(priced.micros for priced in block))
            files = [_file(priced, zone) for priced in block]
            read += sum(priced.rows for priced in block)
            async with engine.begin() as connection:
                await suppliers.know(connection, {priced.supplier for priced in block})
                kept += await repository.keep_files(connection, tenant, stage, files)
                await repository.move_watermark(connection, tenant, SOURCE, last, added=0)
    return {"read": read, "files": kept}


def _file(priced: Priced, zone: ZoneInfo) -> dict[str, Any]:
    occurred_at = instant(priced.micros)
    day = occurred_at.astimezone(zone).date().isoformat()
    return {
        "id": f"clickhouse:{priced.supplier}:{day}",
        "supplier": priced.supplier,
        "day": day,
        "occurred_at": occurred_at.isoformat(),
        "rows": priced.rows,
        "profile": profile_of(priced),
    }
