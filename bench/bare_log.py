"""The least that logging can be: the same server and framework, which keeps each event as a row, and answers when it is safe.

No token is looked at; nothing is checked, grouped or counted. An event that comes again is kept once.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI, Request

from shared.platform.process import Server, server_config
from shared.platform.service import Stopping
from shared.platform.settings import ProcessSettings

CONNECTIONS = 10

_TABLE = "CREATE TABLE IF NOT EXISTS bare_events (event_id text PRIMARY KEY, event jsonb NOT NULL)"
_KEEP = """
    INSERT INTO bare_events SELECT event ->> 'event_id', event FROM jsonb_array_elements($1::jsonb) AS event
    ORDER BY 1 ON CONFLICT DO NOTHING  -- in one order, so that two batches with the same events do not wait in a circle
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["PENSTOCK_DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(_TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/api/v1/investigation-events", status_code=202)
async def log(request: Request) -> dict[str, Any]:
    event = await request.json()
    await app.state.pool.execute(_KEEP, json.dumps([event]))
    return {"event_id": event["event_id"]}


@app.post("/api/v1/investigation-events/batch", status_code=202)
async def log_batch(request: Request) -> dict[str, Any]:
    events = (await request.json())["events"]
    await app.state.pool.execute(_KEEP, json.dumps(events))
    return {"items": [{"event_id": event["event_id"]} for event in events]}


if __name__ == "__main__":
    Server(server_config(app, ProcessSettings(), host="127.0.0.1", port=int(sys.argv[-1])), Stopping()).run()
