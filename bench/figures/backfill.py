"""A million errors taken over from ClickHouse, while pipelines log others; beside reading them and a bare COPY."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from statistics import median
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg

from bench.bench import Bench, NotMeasured, execute, say, settle, value_of
from bench.loads import Client, Latencies, steadily
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, Process, bench_token, notifier_alone
from services.notifier.backfill.settings import ClickHouseSettings
from services.notifier.backfill.source import connected
from services.notifier.backfill.windows import Window
from tests.notifier.clickhouse import ClickHouse

ROWS = 1_000_000  # as the goal has it
SUPPLIERS, ERRORS, DAYS = 50, 12, 90
JOB = "/api/v1/jobs/clickhouse-backfill/runs"
LIVE_RATE = 20.0  # events a second that pipelines log meanwhile
PATIENCE_SECONDS = 900.0

_FILL = (
    "CREATE TABLE error_list (id UInt32, error_text String) ENGINE = MergeTree ORDER BY id",
    f"INSERT INTO error_list SELECT number, concat('Error of kind ', toString(number)) FROM numbers({ERRORS})",
    "CREATE TABLE dif_errors (dt DateTime, supid UInt32, error_id UInt32) ENGINE = MergeTree ORDER BY dt",
    # Spread as errors are: any supplier and kind at any time.
    f"""INSERT INTO dif_errors SELECT now() - {DAYS} * 86400 + intDiv(number * {DAYS} * 86400, {ROWS}),
        cityHash64(number) % {SUPPLIERS}, cityHash64(number + 1) % {ERRORS} FROM numbers({ROWS})""",
)
_SIZE = """
    SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'notifier' AND c.relkind = 'r'
"""
_BARE = "CREATE TABLE public.bare (occurred_at timestamptz, supplier text, error text)"


@measures("clickhouse_backfill")
def clickhouse_backfill(bench: Bench) -> Iterator[Figure]:
    """Seconds of the job's first run, in a notifier as it is deployed; what is there is ClickHouse's own engine."""
    if find_spec("chdb") is None:
        raise NotMeasured("needs chDB, which is ClickHouse in a wheel: pip install chdb")
    ours: list[dict[str, Any]] = []
    theirs: list[float] = []
    with bench.subfolder("clickhouse") as folder:
        server = ClickHouse(folder / "data")
        try:
            server.run(*_FILL)
            for number in range(bench.rounds):
                ours.append(_backfilled(bench, server))
                theirs.append(_copied(bench, server))
                say(f"Round {number + 1} of {bench.rounds}: {ours[-1]}; bare COPY {theirs[-1]:.2f} s")
        finally:
            server.kill()
    seconds = [round_["seconds"] for round_ in ours]
    detail = {
        "rows": ROWS,
        "seconds": seconds,
        "baseline_seconds": theirs,
        **{name: median(round_[name] for round_ in ours) for name in ours[0] if name != "seconds"},
    }
    yield Figure("clickhouse_backfill", median(seconds), "s", median(theirs), "< 60 s", detail)


def _backfilled(bench: Bench, server: ClickHouse) -> dict[str, float]:
    settings = {"PENSTOCK_CLICKHOUSE_URL": server.url, "PENSTOCK_CLICKHOUSE_TENANT": TENANT}
    with bench.database() as url:
        empty = value_of(url, _SIZE)
        with notifier_alone(bench, url, settings) as notifier:
            ended = threading.Event()
            live: list[Latencies] = []
            beside = threading.Thread(target=lambda: live.append(asyncio.run(_log(notifier.url, ended))))
            beside.start()
            try:
                first = asyncio.run(_run(notifier.url))
            finally:
                ended.set()
                beside.join()
            memory = _memory(notifier)
            grown = value_of(url, _SIZE) - empty
            settle(url)
            second = asyncio.run(_run(notifier.url))
        if (first["read"], first["added"]) != (ROWS, ROWS) or second["added"]:
            raise NotMeasured(f"the first run came to {first}, the second to {second}")
        return {
            "seconds": first["seconds"],
            "growth_mb": grown / 1e6,
            "memory_mb": memory,
            "live_p99_ms": live[0].percentile(99),
            "second_seconds": second["seconds"],
            "second_read": second["read"],
            "second_added": second["added"],
        }


def _memory(notifier: Process) -> float:
    return notifier.peak_memory() / 1e6


async def _run(url: str) -> Mapping[str, float]:
    """Have the job run for yesterday, and wait: what it says of errors."""
    client = Client(url, bench_token())
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    try:
        await client.post(JOB, json.dumps({"date": day}).encode())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (run := json.loads(await client.get(f"{JOB}/{day}")))["status"] != "succeeded":
            if run["error"] or time.monotonic() > deadline:
                raise NotMeasured(f"the job did not succeed: {run}")
            await asyncio.sleep(0.1)
    finally:
        client.close()
    errors: Mapping[str, float] = run["result"]["errors"]
    return errors


async def _log(url: str, ended: threading.Event) -> Latencies:
    """Log events for the same tenant, of a reason that ClickHouse does not have, until the job has ended."""
    client = Client(url, bench_token())
    taken: list[float] = []

    async def log() -> None:
        event = {"event_id": str(uuid4()), "stage": "load_mail", "reason": "file_format"}
        await client.post("/api/v1/investigation-events", json.dumps(event).encode())

    try:
        while not ended.is_set():
            taken += (await steadily(log, rate=LIVE_RATE, seconds=1.0)).seconds
    finally:
        client.close()
    return Latencies(taken)


def _copied(bench: Bench, server: ClickHouse) -> float:
    with bench.database() as url:
        execute(url, _BARE)
        began = time.perf_counter()
        asyncio.run(_copy(url, server))
        seconds = time.perf_counter() - began
        if value_of(url, "SELECT count(*) FROM public.bare") != ROWS:
            raise NotMeasured("COPY did not bring all rows")
    return seconds


async def _copy(url: str, server: ClickHouse) -> None:
    sources = ClickHouseSettings(clickhouse_url=server.url, clickhouse_tenant=TENANT).clickhouse
    assert sources is not None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    connection = await asyncpg.connect(url)
    try:
        async with connected(sources, ZoneInfo("UTC")) as source:
            async for rows in source.errors(Window(None, datetime.now(UTC))):
                records = [
                    (epoch + timedelta(microseconds=row.micros), row.supplier, row.error) for row in rows
                ]
                await connection.copy_records_to_table("bare", records=records)
    finally:
        await connection.close()
