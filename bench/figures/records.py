"""Records read over HTTP: lists with filters and searches among a million products, at a steady rate and flat out."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench import files
from bench.bench import Bench, NotMeasured, execute, say, settle, value_of
from bench.loads import Client, Latencies, at_rate, flat_out
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, Process, bench_token, penstock_apart
from services.results.records.ordering import Order, Pages
from shared.contracts.datasets import datasets

RECORDS = 1_000_000
SLICE = 60_000  # records of 8 MiB
RATE = 100.0  # requests a second
SECONDS = 20.0
WARM_UP_SECONDS = 3.0
CLIENTS = 50
DEEP_SHARE = 0.2  # of pages
FLAT_OUT_SECONDS = 5.0
SEARCHABLE_SECONDS = 600.0

_IMPORT = "00000000-0000-7000-8000-000000000001"
_LOAD = f"""
    INSERT INTO data.products (tenant, key, sku, name, description, price, stock_quantity, active, import_id, row_number)
    SELECT '{TENANT}', lower(sku), sku, name, description, (n * 7919 % 100000) / 100.0, n * 31 % 1000, n % 50 <> 0,
        '{_IMPORT}', n
    FROM (SELECT *, row_number() OVER () AS n FROM stage)
    ORDER BY n / {SLICE}, lower(sku) COLLATE "C"  -- as the slices of an import lie in the table
"""
_MARK = f"""
    INSERT INTO processor.unsearched (tenant, dataset, keys)
    SELECT '{TENANT}', 'products', array_agg(key)
    FROM (SELECT key, row_number() OVER (ORDER BY key) / 5000 AS part FROM data.products) GROUP BY part
"""

Query = dict[str, str]


@measures("list_p99", "search_p99", "search_words_p99", "list_deep", "list_unindexed", "list_throughput")
def records(bench: Bench) -> Iterator[Figure]:
    """Figures of one table, which takes a minute to make."""
    rows = min(RECORDS, bench.rows) if bench.rows < 100_000 else RECORDS
    with bench.database() as url, bench.subfolder("records") as folder:
        _load(url, folder, rows)
        with penstock_apart(bench, url) as penstock:
            _wait_until_searchable(url)
            settle(url)
            bare = Process((), os.environ, folder, module="bench.bare")
            try:
                bare.wait_until_ready()
                yield from asyncio.run(_measured(bench, url, penstock.results_url, bare.url))
            finally:
                bare.stop()


def _load(url: str, folder: Path, rows: int) -> None:
    file = files.products(folder / "products.csv", rows)
    file.chmod(0o644)  # PostgreSQL reads it, which may run as another user
    execute(
        url,
        "CREATE TABLE stage (sku text, name text, description text)",
        f"COPY stage FROM '{file}' WITH (FORMAT csv, HEADER true)",
        _LOAD,
        _MARK,
        "DROP TABLE stage",
    )


def _wait_until_searchable(url: str) -> None:
    began = time.monotonic()
    while left := value_of(url, "SELECT count(*) FROM data.unsearched_v1"):
        if time.monotonic() - began > SEARCHABLE_SECONDS:
            raise NotMeasured(
                f"{left} pieces of records were not searchable after {SEARCHABLE_SECONDS:.0f} s"
            )
        time.sleep(1)
    say(f"All records were searchable after {time.monotonic() - began:.0f} s")


async def _measured(bench: Bench, url: str, results_url: str, bare_url: str) -> list[Figure]:
    ours, bare = Client(results_url, bench_token()), Client(bare_url, "none")
    size = len(await ours.get(_path({})))
    deep_key = await asyncio.to_thread(
        value_of,
        url,
        "SELECT key FROM data.products ORDER BY key OFFSET (SELECT count(*) * 9 / 10 FROM data.products) LIMIT 1",
    )
    names = await asyncio.to_thread(
        value_of, url, "SELECT array_agg(name) FROM data.products WHERE row_number % 1999 = 0"
    )
    measuring = _Measuring(ours, bare, f"/constant/{size}", deep_key, names, random.Random(11))
    figures: dict[str, Callable[[], Awaitable[Figure]]] = {
        "list_p99": lambda: measuring.at_steady_rate("list_p99", measuring.list_query),
        "search_p99": lambda: measuring.at_steady_rate("search_p99", measuring.word_query),
        "search_words_p99": lambda: measuring.at_steady_rate("search_words_p99", measuring.words_query),
        "list_deep": measuring.deep,
        "list_unindexed": measuring.unindexed,
        "list_throughput": measuring.throughput,
    }
    try:
        return [await measure() for name, measure in figures.items() if name in bench.wanted]
    finally:
        ours.close()
        bare.close()


@dataclass(frozen=True)
class _Measuring:
    ours: Client
    bare: Client
    constant: str
    deep_key: str
    names: Sequence[str]
    rng: random.Random

    def list_query(self) -> Query:
        """A page of a list with filters; one in five is deep."""
        kinds: list[Callable[[], Query]] = [
            dict,
            lambda: {"active": "false"},
            lambda: {
                "sku__prefix": f"{self.rng.choice(('wbh', 'K', 'mill', 'pn'))}-{self.rng.randrange(256):02x}"
            },
            lambda: {
                "price__gte": str(low := self.rng.randrange(900)),
                "price__lt": str(low + self.rng.randrange(20, 100)),
            },
            lambda: {"name__prefix": self.rng.choice(self.names)[:12]},
            lambda: {"import_id": _IMPORT, "active": "true", "sort": "-id"},
            lambda: {"stock_quantity__lt": "50", "price__gt": "500"},
        ]
        query = self.rng.choice(kinds)()
        return self._deep(query) if self.rng.random() < DEEP_SHARE else query

    def word_query(self) -> Query:
        """A word that one record has, some thousands, or every third; or the beginning of one. One in five is deep."""
        number = self.rng.randrange(RECORDS)
        return self._search(
            str(number), str(number % 97), "tools", "workshop", "kettle", "bamboo", "lad", "zinnia"
        )

    def words_query(self) -> Query:
        """Several words: two that many records have, or all of a name."""
        return self._search("copper oak", "steel desk", "made to last", self.rng.choice(self.names))

    def _search(self, *sought: str) -> Query:
        query = {"search": self.rng.choice(sought)}
        return self._deep(query) if self.rng.random() < DEEP_SHARE else query

    def _deep(self, query: Query) -> Query:
        """A page of it behind nine tenths of all records."""
        pages = Pages(datasets()["products"], list(query.items()), Order())
        return query | {"cursor": pages.cursor((None, self.deep_key))}

    async def at_steady_rate(self, name: str, query: Callable[[], Query]) -> Figure:
        """Milliseconds at the 99th percentile, beside the bare route at the same rate."""
        await at_rate(self.ours, lambda: _path(query()), rate=RATE, seconds=WARM_UP_SECONDS)
        ours = await at_rate(self.ours, lambda: _path(query()), rate=RATE, seconds=SECONDS)
        await at_rate(self.bare, lambda: self.constant, rate=RATE, seconds=1)
        bare = await at_rate(self.bare, lambda: self.constant, rate=RATE, seconds=SECONDS / 4)
        detail = {"requests_per_second": RATE, "requests": len(ours.seconds), **_spread(ours)}
        return Figure(name, ours.percentile(99), "ms", bare.percentile(99), "value < 20", detail)

    async def deep(self) -> Figure:
        """Milliseconds that a page behind nine tenths of all records usually takes, beside the first one."""
        first = await flat_out(self.ours, lambda: _path({}), clients=1, seconds=FLAT_OUT_SECONDS)
        deep = await flat_out(self.ours, lambda: _path(self._deep({})), clients=1, seconds=FLAT_OUT_SECONDS)
        detail = {"p99": deep[1].percentile(99), "baseline_p99": first[1].percentile(99)}
        return Figure("list_deep", deep[1].percentile(50), "ms", first[1].percentile(50), "<= 1.1", detail)

    def unindexed_query(self) -> Query:
        """What no index knows: a filter that few records pass, or none, or an order."""
        low = self.rng.randrange(900)
        queries: list[Query] = [
            {"price__gte": str(low), "price__lt": f"{low}.05"},
            {"import_id": "00000000-0000-7000-8000-000000000002"},
            {"sort": "-price"},
        ]
        return self.rng.choice(queries)

    async def unindexed(self) -> Figure:
        """Milliseconds that such a page usually takes, for which all records are looked at, beside the first one."""
        first = await flat_out(self.ours, lambda: _path({}), clients=1, seconds=FLAT_OUT_SECONDS)
        ours = await flat_out(
            self.ours, lambda: _path(self.unindexed_query()), clients=1, seconds=2 * FLAT_OUT_SECONDS
        )
        detail = _spread(ours[1])
        return Figure("list_unindexed", ours[1].percentile(50), "ms", first[1].percentile(50), detail=detail)

    async def throughput(self) -> Figure:
        """Pages a second to 50 clients as fast as they can, beside as many bytes from a bare route."""
        ours = await flat_out(
            self.ours, lambda: _path(self.list_query()), clients=CLIENTS, seconds=FLAT_OUT_SECONDS
        )
        bare = await flat_out(self.bare, lambda: self.constant, clients=CLIENTS, seconds=FLAT_OUT_SECONDS)
        detail = {"clients": CLIENTS, **_spread(ours[1]), "baseline_p99": bare[1].percentile(99)}
        return Figure("list_throughput", ours[0], "requests/s", bare[0], detail=detail)


def _path(query: Query) -> str:
    return f"/api/v1/records/products?{urlencode(query)}"


def _spread(latencies: Latencies) -> dict[str, float]:
    return {f"p{percent}": latencies.percentile(percent) for percent in (50, 90, 95, 99)}
