"""The bench as a person starts it, with files so small that it takes seconds. No time is judged."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.given import clean_environment

ROOT = Path(__file__).parent.parent.parent


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", "--rounds", "1", "--rows", "300", *arguments]


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=clean_environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def folder(server_home: Path, tmp_path: Path) -> Path:
    """Where the bench keeps its files; the server's own user can pass."""
    folder = server_home / tmp_path.name
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def test_imports_are_measured_beside_the_same_by_hand_and_nothing_is_left(folder: Path) -> None:
    only = "import_new,import_unchanged,import_changed,import_all_bad,import_naive"

    done = bench(folder, "--only", only)

    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [figure["name"] for figure in figures] == only.split(",")
    for figure in figures:
        assert figure["value"] > 0
        assert figure["baseline"] > 0
        assert figure["detail"]["rows"] == 300
    assert list(folder.iterdir()) == []


def test_parts_that_only_compute_are_measured_alone(folder: Path) -> None:
    done = bench(folder, "--only", "reading,inspect_throughput")

    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["name"] for line in done.stdout.splitlines()} == {
        "reading",
        "inspect_throughput",
    }


def test_four_imports_at_once_all_end(folder: Path) -> None:
    done = bench(folder, "--only", "import_four_at_once")

    assert done.returncode == 0, done.stderr
    (figure,) = map(json.loads, done.stdout.splitlines())
    assert figure["detail"]["rows_each"] == 75


def test_ctrl_c_leaves_nothing_behind(folder: Path) -> None:
    process = subprocess.Popen(
        command("--only", "import_new", "--rounds", "1000"),
        cwd=ROOT,
        env=clean_environment(TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        while "Round 1" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 130
    assert list(folder.iterdir()) == []
    assert children_of(folder) == []


def test_an_unknown_figure_is_named_and_the_known_ones_listed() -> None:
    done = bench(Path.cwd(), "--only", "import_old")

    assert done.returncode == 2
    assert "import_old" in done.stderr
    assert done.stdout == ""
    assert "import_new" in done.stderr


def children_of(folder: Path) -> list[str]:
    """Command lines that still name the folder."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]
