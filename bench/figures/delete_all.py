"""All products deleted by one request, beside a DELETE by hand of as many rows in a copy of the table."""

import subprocess
import time
from collections.abc import Iterator
from statistics import median

import httpx

from bench import by_hand, files
from bench.bench import Bench, NotMeasured, execute, say, settle, value_of
from bench.registry import measures
from bench.report import Figure
from bench.running import TENANT, Penstock, bench_token, penstock_up

MOST_ROWS = 500_000  # as the goal has it
SEARCHABLE_SECONDS = 300.0


@measures("delete_all")
def delete_all(bench: Bench) -> Iterator[Figure]:
    """Seconds from request to answer over HTTP, the words of all products being indexed."""
    rows = min(bench.rows, MOST_ROWS)
    ours: list[float] = []
    theirs: list[float] = []
    with bench.subfolder("delete-all") as folder:
        file = files.products(folder / "products.csv", rows)
        for number in range(bench.rounds):
            with bench.database() as url, penstock_up(bench, url) as penstock:
                penstock.import_file(file, {"rows_inserted": rows})
                _wait_until_searchable(url)
                _copy_by_hand(url)
                settle(url)
                if number % 2:
                    ours.append(_delete(penstock, url, rows))
                    theirs.append(_delete_by_hand(url))
                else:
                    theirs.append(_delete_by_hand(url))
                    ours.append(_delete(penstock, url, rows))
                say(f"Round {number + 1} of {bench.rounds}: {ours[-1]:.2f} s; by hand {theirs[-1]:.2f} s")
    detail = {"rows": rows, "seconds": ours, "baseline_seconds": theirs, "by_hand_with": by_hand.tool()}
    yield Figure("delete_all", median(ours), "s", median(theirs), detail=detail)


def _wait_until_searchable(url: str) -> None:
    deadline = time.monotonic() + SEARCHABLE_SECONDS
    while value_of(url, "SELECT EXISTS (SELECT FROM data.unsearched_v1)"):
        if time.monotonic() > deadline:
            raise NotMeasured(f"the words of the products were not indexed within {SEARCHABLE_SECONDS:g} s")
        time.sleep(0.2)


def _copy_by_hand(url: str) -> None:
    by_hand.create_table(url)
    execute(
        url, f"INSERT INTO {by_hand.TABLE} SELECT * FROM data.products WHERE tenant = '{TENANT}' ORDER BY key"
    )


def _delete(penstock: Penstock, url: str, rows: int) -> float:
    began = time.perf_counter()
    answer = httpx.delete(
        f"{penstock.results_url}/api/v1/records/products",
        params={"confirm": "products"},
        headers={"Authorization": f"Bearer {bench_token()}"},
        timeout=60.0,
    )
    seconds = time.perf_counter() - began
    left = value_of(url, f"SELECT count(*) FROM data.products WHERE tenant = '{TENANT}'")
    if answer.status_code != httpx.codes.OK or answer.json() != {"deleted": rows} or left:
        raise NotMeasured(f"deleting all was answered {answer.status_code}: {answer.text}; {left} are left")
    return seconds


def _delete_by_hand(url: str) -> float:
    statement = f"DELETE FROM {by_hand.TABLE} WHERE tenant = '{TENANT}'"
    psql = by_hand.psql()
    began = time.perf_counter()
    if psql is None:
        execute(url, statement)
    else:
        command = [str(psql), "--no-psqlrc", "--quiet", f"--dbname={url}", f"--command={statement}"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - psql itself
    return time.perf_counter() - began
