"""How far the index of words is behind a large import, and what it takes on the disk."""

import json
import time
from collections.abc import Iterator
from statistics import median

from bench import files
from bench.bench import Bench, NotMeasured, execute, settle, value_of
from bench.registry import measures
from bench.report import Figure
from bench.running import penstock_up
from shared.contracts.datasets import datasets
from shared.contracts.record_search import document_sql

PATIENCE_SECONDS = 600.0
_WAITING = "SELECT EXISTS (SELECT FROM data.unsearched_v1)"
_BY_HAND = (
    "CREATE TABLE by_hand (LIKE data.products_search INCLUDING ALL EXCLUDING INDEXES)",
    f"INSERT INTO by_hand SELECT tenant, key, {document_sql(datasets()['products'], 't')} FROM data.products t",
    "ALTER TABLE by_hand ADD PRIMARY KEY (tenant, key)",
    "CREATE INDEX ON by_hand USING gin (words)",
)
_SIZES = """
    SELECT json_build_object(
        'bytes_of_records', pg_total_relation_size('data.products'),
        'bytes_of_words', pg_table_size('data.products_search'),
        'bytes_of_index', pg_relation_size('data.products_search_words')
    )
"""


@measures("search_behind")
def search_behind(bench: Bench) -> Iterator[Figure]:
    """Seconds from the end of an import until searches need nothing but the index, beside making one anew in one go."""
    ours, theirs, size = [], [], {}
    with bench.subfolder("searching") as folder:
        file = files.products(folder / "new.csv", bench.rows)
        for _ in range(bench.rounds):
            with bench.database() as url, penstock_up(bench, url) as penstock:
                settle(url)
                penstock.import_file(file, {"rows_inserted": bench.rows})
                ours.append(_until_searched(url))
                size = json.loads(value_of(url, _SIZES))
                settle(url)
                began = time.perf_counter()
                execute(url, *_BY_HAND)
                theirs.append(time.perf_counter() - began)
    detail = {"rows": bench.rows, "rounds": ours, "baseline_rounds": theirs, "sizes": size}
    yield Figure("search_behind", median(ours), "s", median(theirs), detail=detail)


def _until_searched(url: str) -> float:
    began = time.perf_counter()
    while value_of(url, _WAITING):
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise NotMeasured(f"not all is indexed after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)
    return time.perf_counter() - began
