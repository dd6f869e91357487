"""`penstock import`: exit codes, what goes to which stream, and clear words when it does not work."""

import csv
import gzip
import hashlib
import json
import os
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
        assert f"To end it: penstock cancel {watched['id']} --url {running.url}" in errors
        *_, final = client.follow(watched["id"])
    assert final["status"] == "completed"


def called(up: Up, command: str, import_id: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return penstock(command, import_id, "--url", up.url, *arguments, PENSTOCK_HOME=str(up.home))


def sent(up: Up, file: Path, **fields: object) -> str:
    """The id of an import that was just accepted."""
    with up.client() as client:
        accepted: str = client.upload(file, dataset="products", fields={"force": True, **fields})["id"]
    return accepted


def test_a_dry_run_says_what_would_be_and_loads_nothing(running: Up, tmp_path: Path) -> None:
    file = products(tmp_path / "rehearsal.csv", 20)
    file.write_text(file.read_text().replace("G-", "REHEARSED-"))

    rehearsed = imported(running, file, "--dataset", "products", "--dry-run")
    done = imported(running, file, "--dataset", "products", "--json")

    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "This was a dry run: nothing was loaded." in rehearsed.stdout
    assert "would be inserted" in rehearsed.stdout
    assert "dry run completed, 20 of 20 records" in rehearsed.stderr
    final = json.loads(done.stdout)
    assert (final["dry_run"], final["rows_inserted"]) == (False, 20)


def test_a_dry_run_with_row_errors_exits_3(running: Up, tmp_path: Path) -> None:
    file = tmp_path / "books.csv"
    file.write_text("title,author,isbn,publication_year\nA,B,978-649-000001-1,1999\n")

    done = imported(running, file, "--dataset", "books", "--dry-run")

    assert done.returncode == 3, done.stderr
    assert "line 2, record 1: " in done.stdout
    assert "/errors.csv" in done.stdout


def test_too_many_row_errors_fail_the_import_with_nothing_loaded(running: Up, tmp_path: Path) -> None:
    file = tmp_path / "limited.csv"
    file.write_text("sku,name\nLIMITED-1,Good\nLIMITED-2,\nLIMITED-3,\n")

    refused = imported(running, file, "--dataset", "products", "--max-rejected", "1", "--json")
    allowed = imported(running, file, "--dataset", "products", "--max-rejected", "2", "--json")

    failed, completed = json.loads(refused.stdout), json.loads(allowed.stdout)
    assert (refused.returncode, failed["status"], failed["rows_inserted"]) == (1, "failed", 0)
    assert f"({failed['error_code']})" in refused.stderr
    assert (allowed.returncode, completed["status"], completed["rows_inserted"]) == (3, "completed", 1)


def test_what_is_known_of_a_file_need_not_be_found(running: Up, tmp_path: Path) -> None:
    file = tmp_path / "odd.txt"
    file.write_bytes("Report;of\nsku!name!description\nODD-1!'Größe; M!'!x\n".encode("cp1252"))
    asked = ["--delimiter", "!", "--quote", "single", "--encoding", "windows-1252", "--skip-rows", "1"]

    done = imported(running, file, "--dataset", "products", *asked, "--header-rows", "1", "--json")

    final = json.loads(done.stdout)
    assert (done.returncode, final["rows_inserted"]) == (0, 1), done.stderr
    assert (final["dialect"]["delimiter"], final["dialect"]["encoding"]) == ("!", "cp1252")
    assert set(final["explanation"]["given"]) >= {"delimiter", "quote", "encoding"}


def test_an_option_that_the_server_does_not_understand(running: Up, tmp_path: Path) -> None:
    file = products(tmp_path / "gates.csv", 3)

    done = imported(running, file, "--dataset", "products", "--date-order", "european")

    assert done.returncode == 1
    assert "date_order cannot be 'european' (field_invalid)" in done.stderr
    assert "hint: for date_order send day-first or month-first" in done.stderr


def test_a_compressed_file(running: Up, tmp_path: Path) -> None:
    plain = products(tmp_path / "packed.csv", 30)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    done = imported(running, packed, "--dataset", "products", "--json")

    final = json.loads(done.stdout)
    assert (done.returncode, final["file_name"], final["rows_processed"]) == (0, "packed.csv.gz", 30)
    assert (final["file_size"], final["sha256"]) == (
        plain.stat().st_size,
        hashlib.sha256(plain.read_bytes()).hexdigest(),
    )


def test_an_import_is_cancelled(running: Up, tmp_path: Path) -> None:
    import_id = sent(running, products(tmp_path / "long.csv", 2_000_000))

    done = called(running, "cancel", import_id)
    again = called(running, "cancel", import_id, "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "cancelled, " in done.stdout
    assert (again.returncode, json.loads(again.stdout)["status"]) == (0, "cancelled")


def test_an_import_that_has_ended_cannot_be_cancelled_or_retried(running: Up, tmp_path: Path) -> None:
    done = imported(
        running, products(tmp_path / "gates.csv", 3), "--dataset", "products", "--json", "--force"
    )
    import_id = json.loads(done.stdout)["id"]

    cancelled, retried = called(running, "cancel", import_id), called(running, "retry", import_id)

    assert (cancelled.returncode, retried.returncode) == (1, 1)
    assert "(import_ended)" in cancelled.stderr
    assert "(import_not_failed)" in retried.stderr


def test_the_error_file_is_mended_and_sent_again_as_it_is(running: Up, tmp_path: Path) -> None:
    file = tmp_path / "books.csv"
    rows = [
        "Title;Author;ISBN;Year;Shelf",
        "Momo;Michael Ende;978-649-000105-5;1973;A",
        "Faulty;Nobody;978-649-000106-X;1999;B",
        '"Two; faults";;978-649-000107-X;soon;C',
        "Short;Somebody",
    ]
    file.write_text("\r\n".join(rows))

    done = imported(running, file, "--dataset", "books", "--json")
    with running.client() as client:
        errors = b"".join(client.errors_csv(json.loads(done.stdout)["id"])).decode()
    records = list(csv.reader(errors.splitlines(), delimiter=";"))
    mended = tmp_path / "books-errors.csv"
    mended.write_text(errors.replace("106-X", "106-2"))
    first = json.loads(done.stdout)["id"]
    again = imported(running, mended, "--corrects", first, "--json")
    with running.client() as client:
        corrected = client.import_status(first)
        fixed = list(client.errors(first, status="fixed"))

    assert done.returncode == again.returncode == 3, done.stderr + again.stderr
    assert records[0] == ["Title", "Author", "ISBN", "Year", "Shelf", "_line", "_codes", "_messages"]
    assert [(record[0], record[5]) for record in records[1:]] == [
        ("Faulty", "3"),
        ("Two; faults", "4"),
        ("Short", "5"),
    ]
    assert len(records[2][6].split()) == 3
    final = json.loads(again.stdout)
    assert (final["rows_inserted"], final["rows_rejected"]) == (1, 2)
    assert (final["file_name"], final["dataset"], final["corrects"]) == ("books-errors.csv", "books", first)
    assert (corrected["rows_corrected"], corrected["errors_open"]) == (1, 2)
    assert corrected["corrected_by"] == [final["id"]]
    assert [(each["line_number"], each["fixed_by"]) for each in fixed] == [
        (3, {"import_id": final["id"], "row_number": 1})
    ]


def test_a_failed_import_goes_on_where_it_stopped(running: Up, tmp_path: Path) -> None:
    import_id = sent(running, products(tmp_path / "torn.csv", 600_000))
    stored = running.home / "store" / "uploads" / import_id
    whole, torn = stored.with_name("whole"), stored.with_name("torn")
    os.link(stored, whole)
    torn.write_bytes(whole.read_bytes()[:-100])
    torn.rename(stored)
    with running.client() as client:
        *_, first = client.follow(import_id)
    assert (first["status"], first["error_code"]) == ("failed", "file_truncated")
    whole.rename(stored)

    done = called(running, "retry", import_id, "--json")

    final = json.loads(done.stdout)
    assert (done.returncode, final["status"], final["run"]) == (0, "completed", 2), done.stderr
    loaded = sum(final[f"rows_{name}"] for name in ("inserted", "updated", "unchanged", "duplicate"))
    assert loaded == 600_000


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_an_import_that_is_not_there(running: Up, command: str) -> None:
    done = called(running, command, "00000000-0000-4000-8000-000000000000")

    assert done.returncode == 1
    assert "(import_not_found)" in done.stderr
