"""The model of what work costs, and the counters that it is made from."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.costs import Model, Work, _cpu_seconds, fitted, median_costs

IMPORTS, FILE = Work(50, 5_000), Work(1, 200_000)
TRUE = Model({"cpu": 0.05, "wal_bytes": 9_000.0}, {"cpu": 2e-5, "wal_bytes": 700.0})


def test_two_amounts_of_work_tell_what_a_piece_and_what_its_contents_cost() -> None:
    model = fitted((IMPORTS, TRUE.of(IMPORTS)), (FILE, TRUE.of(FILE)))

    assert model.piece == pytest.approx(TRUE.piece)
    assert model.content == pytest.approx(TRUE.content)


def test_a_model_is_wrong_by_as_much_as_the_measurement_differs() -> None:
    ten_times = Work(1, 2_000_000)
    measured = {name: cost * 1.25 for name, cost in TRUE.of(ten_times).items()} | {"not_in_the_model": 1.0}

    assert TRUE.errors(ten_times, measured) == pytest.approx({"cpu": -0.2, "wal_bytes": -0.2})


def test_the_same_work_twice_tells_nothing() -> None:
    with pytest.raises(ValueError, match="same work"):
        fitted((Work(1, 100), {"cpu": 1.0}), (Work(2, 200), {"cpu": 2.0}))


def test_what_was_not_counted_in_a_round_was_nothing() -> None:
    assert median_costs([{"cpu": 3.0}, {"cpu": 1.0, "rows": 7.0}, {"cpu": 2.0}]) == {"cpu": 2.0, "rows": 0.0}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU times are read from /proc")
def test_the_cpu_time_of_a_process_is_its_own_and_that_of_its_ended_children() -> None:
    child = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        of_all, of_its_own = _cpu_seconds(process.pid), _cpu_seconds(process.pid, ended=False)
        process.communicate(b"\n")

    assert of_all - of_its_own >= 0.2  # of 0.3, in ticks of a hundredth
    assert _cpu_seconds(process.pid) == 0.0
