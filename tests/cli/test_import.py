"""`penstock import`: exit codes, what goes to which stream, and clear words when it does not work."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from penstock.local.processes import free_port
from tests.cli.given import PENSTOCK, Up, clean_environment, penstock, products, wait_until


def imported(up: Up, file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return penstock("import", file, "--url", up.url, *arguments, PENSTOCK_HOME=str(up.home))


def test_a_clean_file_exits_0_and_shows_the_receipt(running: Up, tmp_path: Path) -> None:
    done = imported(
        running, products(tmp_path / "gates.csv", 20), "--dataset", "products", "--source", "Mill"
    )

    assert done.returncode == 0, done.stderr
    assert "gates.csv → products" in done.stdout
    assert "inserted" in done.stdout
    assert "completed, 20 of 20 records" in done.stderr
    with running.client() as client:
        assert [found["file_name"] for found in client.imports(source="Mill")] == ["gates.csv"]


def test_an_overwritten_duplicate_is_no_row_error(running: Up, tmp_path: Path) -> None:
    file = tmp_path / "twice.csv"
    file.write_text("name,sku,description\nOne,DUP-1,\nTwo,dup-1,\n")

    done = imported(running, file, "--dataset", "products", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_duplicate"] == 1


@pytest.mark.parametrize(
    "isbn", ["978-649-000001-1", "978-649-000002-7"], ids=["rejected record", "duplicate record"]
)
def test_row_errors_exit_3(running: Up, tmp_path: Path, isbn: str) -> None:
    file = tmp_path / "books.csv"
    file.write_text(f"title,author,isbn,publication_year\nA,B,978-649-000002-7,1999\nFaulty,B,{isbn},1999\n")

    done = imported(running, file, "--dataset", "books")

    assert done.returncode == 3, done.stderr
    assert "line 3, record 2: " in done.stdout
    assert "/errors" in done.stdout


def test_json_alone_goes_to_standard_output(running: Up, tmp_path: Path) -> None:
    done = imported(running, products(tmp_path / "gates.csv", 3), "--dataset", "products", "--json")

    final = json.loads(done.stdout)
    assert (final["status"], final["rows_processed"]) == ("completed", 3)


@pytest.mark.parametrize(
    ("content", "dataset", "said"),
    [
        ("name,sku\nA,1\n", "nope", ("there is no dataset 'nope' (dataset_unknown)", "hint: datasets are: ")),
        ("name,price\nA,1\n", "products", ("(header_column_missing)", "hint: Add the missing columns.")),
        ("", "products", ("(file_empty)", "hint: ")),
    ],
    ids=["unknown dataset", "column missing", "empty file"],
)
def test_a_refused_file_exits_1_with_detail_and_hint(
    running: Up, tmp_path: Path, content: str, dataset: str, said: tuple[str, ...]
) -> None:
    file = tmp_path / "file.csv"
    file.write_text(content)

    done = imported(running, file, "--dataset", dataset, "--json")

    assert (done.returncode, done.stdout) == (1, "")
    assert all(words in done.stderr for words in said), done.stderr


def test_a_wrong_token_is_said_although_the_file_is_large(running: Up, tmp_path: Path) -> None:
    file = products(tmp_path / "large.csv", 2_000_000)  # more than the server is willing to take in vain

    done = imported(running, file, "--dataset", "products", "--token", "wrong")

    assert done.returncode == 1
    assert "(token_invalid)" in done.stderr


def test_nobody_there(tmp_path: Path) -> None:
    file = products(tmp_path / "gates.csv", 3)

    done = penstock(
        "import", file, "--dataset", "products", "--token", "t", "--url", f"http://127.0.0.1:{free_port()}"
    )

    assert done.returncode == 1
    assert "is Penstock running? start it with `penstock up`" in done.stderr


def test_no_token(tmp_path: Path) -> None:
    file = products(tmp_path / "gates.csv", 3)

    done = penstock("import", file, "--dataset", "products", PENSTOCK_HOME=str(tmp_path / "nowhere"))

    assert done.returncode == 1
    assert "PENSTOCK_TOKEN" in done.stderr


def test_ctrl_c_stops_watching_and_the_import_goes_on(running: Up, tmp_path: Path) -> None:
    file = products(tmp_path / "watched.csv", 600_000)
    arguments = ["import", str(file), "--dataset", "products", "--url", running.url]
    with (
        subprocess.Popen(
            [*PENSTOCK, *arguments],
            env=clean_environment(PENSTOCK_HOME=str(running.home)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background of a script ignores SIGINT, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread here
        ) as process,
        running.client() as client,
    ):
        wait_until(lambda: any(found["file_name"] == "watched.csv" for found in client.imports()), 30)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "goes on without us" in errors
        [watched] = [found for found in client.imports() if found["file_name"] == "watched.csv"]
        *_, final = client.follow(watched["id"])
    assert final["status"] == "completed"
