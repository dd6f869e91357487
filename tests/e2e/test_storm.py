"""Every dataset's import under kill -9 of anything, against a model in plain Python: nothing lost, nothing done twice."""

import csv
import io
import json
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.error_file import neutralised
from tests.e2e.model import Outcome, World
from tests.e2e.stack import Stack, emptied, own_server, until
from tests.e2e.storm import (
    Case,
    Storm,
    begin_together,
    cancelled,
    failed_and_tried_again,
    terminal_events,
    watched,
    weather,
)
from tests.notifier.receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(400)

SETTINGS = {
    "PENSTOCK_SLICE_BYTES": str(2 * 1024**2),
    "PENSTOCK_WEBHOOK_RETRY_SCALE": "0.01",
}
COUNTS = ("processed", "inserted", "updated", "unchanged", "duplicate", "rejected")


def cases_on(transport: str) -> list[Case]:
    """The imports of one storm: each dataset, and each way to go, on one of the transports."""
    if transport == "embedded":
        return [
            Case("products", "products"),
            Case("sales", "sales"),
            Case("stock-codes", "stock-codes"),
            Case("dry-run", "books", {"dry_run": "true"}),
            Case("retry", "quotes", drive=failed_and_tried_again),
        ]
    return [
        Case("books", "books"),
        Case("parts", "parts"),
        Case("quotes", "quotes"),
        Case("atomic", "sales", {"atomic": "true"}, drive=watched),
        Case(
            "cancel", "products", records=60_000, drive=cancelled
        ),  # time to cancel it, while others are killed
    ]


TRANSPORTS = ("embedded", "rabbitmq")
NAMES = [(transport, case.name) for transport in TRANSPORTS for case in cases_on(transport)]


@dataclass(frozen=True)
class Weathered:
    """What a storm has left."""

    stack: Stack
    storm: Storm
    receiver: Receiver
    cases: dict[str, Case]
    seed: int


@asynccontextmanager
async def weathered_on(transport: str, bus_url: str | None, folder: Path) -> AsyncIterator[Weathered]:
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    logging.getLogger(__name__).warning("PENSTOCK_TEST_SEED=%d", seed)  # shown with a failure
    chance = random.Random(seed)
    cases = cases_on(transport)
    async with own_server() as server, receiving() as receiver:
        stack = Stack(folder, server.url, bus_url, SETTINGS)
        try:
            await stack.started()
            for case in cases:
                await case.prepare(stack, receiver, chance)
            await begin_together(stack, cases)
            storm = Storm(stack, server, chance, {case.import_id: case for case in cases})
            await weather(storm)
            yield Weathered(stack, storm, receiver, {case.name: case for case in cases}, seed)
        finally:
            await stack.close()


@pytest.fixture(scope="module")
async def embedded(tmp_path_factory) -> AsyncIterator[Weathered]:
    async with weathered_on("embedded", None, tmp_path_factory.mktemp("storm")) as weathered:
        yield weathered


@pytest.fixture(scope="module")
async def rabbitmq(broker, tmp_path_factory) -> AsyncIterator[Weathered]:
    bus_url = await emptied(broker.url)
    async with weathered_on("rabbitmq", bus_url, tmp_path_factory.mktemp("storm")) as weathered:
        yield weathered


@pytest.fixture
def weathered(request, transport) -> Weathered:
    return request.getfixturevalue(transport)


@pytest.fixture
def case(weathered, name) -> Case:
    return weathered.cases[name]


@pytest.fixture
async def work(case) -> Any:
    """The import's row of work."""
    [row] = await case.stack.rows("SELECT * FROM processor.imports WHERE import_id = $1", case.import_id)
    return row


@pytest.fixture
def expected(case, work) -> tuple[Outcome, World]:
    """What became of the records that were processed, and what the tables hold behind them.

    All records but for a cancelled import: that one has done a part of its file from the beginning.
    """
    world = deepcopy(case.world)
    outcome = world.load(case.dataset, case.import_id, case.file.records[: work["rows_processed"]])
    return outcome, case.world if case.options.get("dry_run") else world


each_case = pytest.mark.parametrize(("transport", "name"), NAMES)


@each_case
async def test_it_ends_as_it_must_with_the_right_counts(weathered, case, work, expected, record_property):
    record_property("seed", weathered.seed)
    ends = {"cancel": ("cancelled", 1), "retry": ("completed", 2)}.get(case.name, ("completed", 1))
    counts = {f"rows_{name}": expected[0].counts[name] for name in COUNTS}
    assert {name: work[name] for name in counts} == counts
    shown = await case.stack.finished(case.import_id)
    assert (shown["status"], shown["run"]) == (work["status"], work["run"]) == ends
    assert {name: shown[name] for name in counts} == counts
    if case.name == "cancel":
        assert 0 < work["rows_processed"] < len(case.file.records)
        return
    assert work["rows_processed"] == len(case.file.records)
    receipt = await case.stack.get(f"/imports/{case.import_id}/receipt")
    assert receipt["rows_read"] == len(case.file.records)


@each_case
async def test_the_storm_has_hit_it(weathered, case):
    assert case.hits > 0, weathered.storm.kills


@each_case
async def test_the_tables_hold_what_the_model_holds(case, expected):
    _, world = expected
    tables = {"sales": {"products", "customers"}, "quotes": {"quote_totals"}}.get(case.dataset, set())
    for table in tables | set(world.tables):
        assert differing(await rows_of(case, table.replace("-", "_")), world.rows(table)) == {}


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """A few of the rows that are not the same, as they are and as they should be."""
    keys = [key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)]
    return {key: (found.get(key), wanted.get(key)) for key in keys[:5]}


async def rows_of(case: Case, table: str) -> dict[str, dict[str, Any]]:
    left_out = {"tenant", "key", "created_at", "updated_at", "file_name", "file_uploaded"}
    rows = await case.stack.rows(f"SELECT * FROM data.{table} WHERE tenant = $1", case.tenant)
    return {
        row["key"]: {
            name: str(value) if name == "import_id" and value else value
            for name, value in row.items()
            if name not in left_out
        }
        for row in rows
    }


@each_case
async def test_each_bad_record_has_its_row_error(case, expected):
    outcome, _ = expected
    errors = await case.stack.rows(
        "SELECT row_number, line_number, byte_offset, code, column_name, raw_data FROM processor.row_errors"
        " WHERE import_id = $1 ORDER BY row_number",
        case.import_id,
    )
    assert [tuple(error) for error in errors] == [
        (bad.record.number, bad.record.line, bad.record.offset, bad.code, bad.column, bad.record.raw)
        for bad in outcome.refused
    ]
    counted = await case.stack.rows(
        "SELECT code, column_name, count FROM processor.error_counts WHERE import_id = $1", case.import_id
    )
    assert {(row["code"], row["column_name"]): row["count"] for row in counted} == Counter(
        (bad.code, bad.column or "") for bad in outcome.refused
    )


@each_case
async def test_the_error_file_has_each_bad_record_once(case, expected):
    outcome, _ = expected
    response = await case.stack.patiently("GET", f"/imports/{case.import_id}/errors.csv")
    header, *records = csv.reader(io.StringIO(response.text, newline=""))
    assert header == [*case.file.kind.columns, "_line", "_codes", "_messages"]
    assert sorted(tuple(cells[:-1]) for cells in records) == sorted(
        (*map(neutralised, bad.record.cells), str(bad.record.line), bad.code) for bad in outcome.refused
    )


@dataclass(frozen=True)
class Change:
    dataset: str
    kind: str
    slice: int
    key: str
    row_number: int
    before: dict[str, Any]


async def changes_of(case: Case) -> list[Change]:
    rows = await case.stack.rows(
        "SELECT * FROM processor.changes WHERE import_id = $1 ORDER BY slice", case.import_id
    )
    changes = []
    for row in rows:
        before = json.loads(row["before"] or "{}", parse_float=Decimal)
        for place, (number, key) in enumerate(zip(row["row_numbers"], row["keys"], strict=True)):
            held = {name: values[place] for name, values in before.items()}
            changes.append(Change(row["dataset"], row["kind"], row["slice"], key, number, held))
    return changes


@each_case
async def test_each_change_is_kept_once(case, expected):
    outcome, _ = expected
    changes = await changes_of(case)
    if case.options.get("dry_run"):
        assert changes == []
        return
    created = [change for change in changes if change.kind == "created"]
    assert len(created) == len(outcome.created)
    made = {(change.dataset, change.key): change.row_number for change in created}
    assert made.keys() == outcome.created.keys()
    assert all(is_told_by(case, made[it], it, first) for it, first in outcome.created.items())
    own = [change for change in changes if change.dataset == case.dataset]
    unchanged = [(change.key, change.row_number) for change in own if change.kind == "unchanged"]
    assert sorted(unchanged) == sorted(outcome.unchanged)
    updated = [change for change in own if change.kind == "updated"]
    assert len(updated) == len(outcome.updated)
    for change in updated:
        number, before = outcome.updated[change.key]
        assert is_told_by(case, change.row_number, (change.dataset, change.key), number)
        assert change.before == {name: as_json(before[name]) for name in change.before}
        assert set(change.before) >= set(case.file.kind.columns[:-1])


def is_told_by(case: Case, number: int, changed: tuple[str, str], first: int) -> bool:
    """Whether record `number` may stand for a change that record `first` began.

    Where a later record overwrites, the slice's last one with that key stands for it.
    """
    dataset, key = changed
    if dataset != case.dataset or dataset not in {"products", "parts", "quotes"}:
        return number == first
    return number >= first and case.file.records[number - 1].key == key


def as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


@pytest.mark.parametrize(("transport", "name"), [("embedded", "sales"), ("rabbitmq", "atomic")])
async def test_what_sales_did_to_the_stock_is_kept_by_slice(case, expected):
    _, world = expected
    changes = [change for change in await changes_of(case) if change.dataset == "products"]
    moved = [change for change in changes if change.kind == "updated"]
    assert len({(change.key, change.slice) for change in moved}) == len(moved)
    first = {change.key: change.before["stock_quantity"] for change in reversed(moved)}
    before = {key: row["stock_quantity"] for key, row in case.world.rows("products").items()}
    after = {key: row["stock_quantity"] for key, row in world.rows("products").items()}
    assert first == {key: before[key] for key in first}
    assert {key for key in before if before[key] != after[key]} <= set(first)


@pytest.mark.parametrize(("transport", "name"), [("rabbitmq", "atomic")])
async def test_an_atomic_import_is_seen_whole_or_not_at_all(case, expected):
    assert 0 in case.seen
    assert case.seen <= {0, expected[0].counts["inserted"]}


@each_case
async def test_its_end_is_told_once(weathered, case):
    ends = {"cancel": ["import.cancelled"], "retry": ["import.failed", "import.completed"]}
    expected = ends.get(case.name, ["import.completed"])
    told = await terminal_events(case, weathered.receiver, len(expected))
    assert sorted(event["type"] for event in told) == sorted(expected)
    deliveries = await case.stack.rows(
        "SELECT d.event_type FROM notifier.deliveries d JOIN notifier.messages m ON m.id = d.message_id"
        " WHERE d.tenant = $1 AND position($2::bytea IN m.body) > 0",
        case.tenant,
        case.import_id.encode(),
    )
    assert sorted(row["event_type"] for row in deliveries) == sorted(expected)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nothing_is_left_behind(weathered):
    stack = weathered.stack

    waiting: list[Any] = []

    async def nothing_waits() -> bool:
        waiting[:] = await stack.rows("SELECT *, convert_from(payload, 'UTF8') FROM bus.outbox")
        return not waiting

    await until(nothing_waits, 60, what=lambda: str(waiting))
    assert await stack.rows("SELECT queue, last_exception FROM bus.dead_letters") == []
    assert await stack.rows("SELECT FROM processor.duplicates") == []
    assert await stack.rows("SELECT FROM processor.imports WHERE status = 'processing'") == []
    stages = "SELECT relname FROM pg_class WHERE relname LIKE 'stage%' AND relkind = 'r'"
    assert await stack.rows(stages) == []
