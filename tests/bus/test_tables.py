"""The migration's tables are what the installed library wants."""

from faststream_outbox import OutboxBroker

from shared.platform.bus.tables import TABLES
from shared.platform.database import engine_for


async def test_the_library_accepts_the_tables(database_url):
    engine = engine_for(database_url, "processor", pool_size=1)
    await OutboxBroker(engine, outbox_table=TABLES.outbox, dlq_table=TABLES.dead_letters).validate_schema()
    await engine.dispose()
