"""`penstock clean`: clean CSV of whatever comes, many files in one call."""

import csv
import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.cleaning import CLEANED, FAILED, Order, only_python_knows, run
from shared.reading.overrides import DialectOverrides
from tests.cli.given import penstock

USAGE = 2


def put(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def clean(*files: Path, out: Path, transcode_from: str | None = None, **given_: str | int) -> int:
    return run(Order(files, out, DialectOverrides.model_validate(given_), transcode_from))


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def test_the_command(tmp_path: Path) -> None:
    good = put(
        tmp_path / "prices.csv",
        'Preisliste\n\nsku;größe;preis\nA-1;5;1,50\nB-2;6;"2,50"\n'.encode("cp1252"),
    )
    broken = put(tmp_path / "report.csv", b"%PDF-1.7 of course")
    packed = put(tmp_path / "codes.csv.gz", gzip.compress(b"code\nA,1\nB\n"))
    out = tmp_path / "new" / "folder"

    done = penstock("clean", good, broken, tmp_path / "gone.csv", packed, "--out-dir", out)

    assert done.returncode == FAILED
    assert (out / "prices.csv").read_bytes() == 'sku,größe,preis\r\nA-1,5,"1,50"\r\nB-2,6,"2,50"\r\n'.encode()
    assert sorted(path.name for path in out.iterdir()) == ["codes.csv", "prices.csv"]
    errors = done.stderr.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"{broken}: The file is a PDF document, not CSV.")
    assert errors[1].startswith(f"{tmp_path / 'gone.csv'}: No such file")
    assert done.stdout == ""


def test_what_is_said_of_the_dialect_holds(tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", b"skip me\na;'b;c'\n1;2\n")
    done = penstock(
        "clean", file, "--out-dir", tmp_path / "out", "--delimiter", "semicolon", "--quote", "single",
        "--escape", "doubled", "--encoding", "latin-1", "--header-rows", "1", "--skip-rows", "1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (CLEANED, "")
    assert rows(tmp_path / "out" / "a.csv") == [["a", "b;c"], ["1", "2"]]


@pytest.mark.parametrize(
    ("option", "value"), [("--quote", "ab"), ("--encoding", "klingon"), ("--delimiter", "123456789")]
)
def test_what_cannot_be_is_a_wrong_call(tmp_path: Path, option: str, value: str) -> None:
    done = penstock("clean", put(tmp_path / "a.csv", b"a,b\n"), "--out-dir", tmp_path / "out", option, value)
    assert done.returncode == USAGE
    assert f"{option} cannot be {value!r}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_encoding_that_only_python_knows(tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "이름,값\n가,1\n나,2\n".encode("cp949"))
    assert only_python_knows("CP949")
    assert not only_python_knows("windows-1252")
    assert not only_python_knows("rot13")
    assert clean(file, out=tmp_path / "out", transcode_from="CP949", encoding="utf-8") == CLEANED
    assert rows(tmp_path / "out" / "a.csv") == [["이름", "값"], ["가", "1"], ["나", "2"]]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf\r\n"])
def test_a_file_without_records_becomes_one_without_bytes(tmp_path: Path, content: bytes) -> None:
    assert clean(put(tmp_path / "a.csv", content), out=tmp_path / "out") == CLEANED
    assert (tmp_path / "out" / "a.csv").read_bytes() == b""


def test_nothing_is_written_onto_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = put(tmp_path / "a.csv", b"a;b\n1;2\n")
    link = tmp_path / "linked"
    link.symlink_to(tmp_path)
    assert clean(file, out=tmp_path) == FAILED
    assert clean(file, out=link) == FAILED
    assert file.read_bytes() == b"a;b\n1;2\n"
    assert capsys.readouterr().err.count("onto itself") == 2


def test_two_files_of_one_name_are_not_mixed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    first, second = put(tmp_path / "a.csv", b"a,b\n1,2\n"), put(tmp_path / "other" / "a.csv", b"c,d\n3,4\n")
    assert clean(first, second, out=tmp_path / "out") == FAILED
    assert rows(tmp_path / "out" / "a.csv") == [["a", "b"], ["1", "2"]]
    assert f"{second}: another file" in capsys.readouterr().err


def test_a_damaged_file_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    assert clean(put(tmp_path / "a.csv.gz", packed[:-20]), out=tmp_path / "out") == FAILED
    assert list((tmp_path / "out").iterdir()) == []
    assert "ends too early" in capsys.readouterr().err


def test_a_record_that_cannot_be_kept_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.reading.cleaning.MAX_RECORD_BYTES", 1000)
    file = put(tmp_path / "a.csv", b"a,b\n1,2\n3," + b"x" * 2000 + b"\n5,6\n")
    assert clean(file, out=tmp_path / "out") == FAILED
    assert rows(tmp_path / "out" / "a.csv") == [["a", "b"], ["1", "2"], ["5", "6"]]
    assert "record 2 in line 3 is left out" in capsys.readouterr().err


def test_a_further_table_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = put(tmp_path / "a.csv", b"a,b\n1,2\n3,4\n\nx,y,z\n1,2,3\n4,5,6\n")
    assert clean(file, out=tmp_path / "out") == CLEANED
    assert rows(tmp_path / "out" / "a.csv") == [["a", "b"], ["1", "2"], ["3", "4"]]
    assert "a further table begins in line 5" in capsys.readouterr().err


def test_a_file_much_larger_than_a_block_is_streamed(tmp_path: Path) -> None:
    lines = [f'{number};Größe {number};"a; b"\n' for number in range(150_000)]
    file = put(tmp_path / "a.csv", "id;name;note\n" + "".join(lines))
    assert clean(file, out=tmp_path / "out") == CLEANED
    found = rows(tmp_path / "out" / "a.csv")
    assert len(found) == 150_001
    assert found[-1] == ["149999", "Größe 149999", "a; b"]


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=12)


@given(
    st.lists(st.tuples(VALUES, VALUES, st.integers().map(str)), min_size=3, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
)
@settings(max_examples=100)
def test_the_data_stay_the_same_and_clean_stays_clean(
    tmp_path: Path, records: list[tuple[str, str, str]], delimiter: str
) -> None:
    written = io.StringIO(newline="")
    table = [["name", "note", "number"], *map(list, records)]
    csv.writer(written, delimiter=delimiter).writerows(table)
    source = put(tmp_path / "a.csv", written.getvalue())
    once, twice = tmp_path / "once", tmp_path / "twice"
    # A lone cell such as 'x' may be quoted or not: that is said as well.
    said = {"quote": "double", "header_rows": 1, "skip_rows": 0, "encoding": "utf-8"}
    assert clean(source, out=once, delimiter=delimiter, **said) == CLEANED
    assert rows(once / "a.csv") == table
    assert clean(once / "a.csv", out=twice, delimiter=",", **said) == CLEANED
    assert (twice / "a.csv").read_bytes() == (once / "a.csv").read_bytes()


def test_no_file_of_the_call_is_written_onto(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first, second = put(one / "x.csv", "a,b\n1,2\n"), put(two / "x.csv", "a,b\n3,4\n")
    done = penstock("clean", first, second, "--out-dir", two)
    assert done.returncode == FAILED
    assert second.read_text() == "a,b\n3,4\n"
    assert f"{first}: it would be written onto {second}, a file to clean" in done.stderr


@pytest.mark.timeout(20)
@pytest.mark.parametrize("command", ["clean", "inspect"])
def test_a_pipe_is_refused_as_it_can_be_read_only_once(tmp_path: Path, command: str) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    arguments = ("--out-dir", tmp_path / "out") if command == "clean" else ()
    done = penstock(command, pipe, *arguments)
    assert done.returncode == FAILED
    assert done.stderr.startswith(f"{pipe}: It is no regular file")


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    file = put(tmp_path / os.fsdecode(b"\xff\x1b.csv"), "a,b\n1,2\n")
    done = penstock("inspect", file)
    assert done.returncode == 0
    assert "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.csv" in done.stdout


@pytest.mark.parametrize("name", ["idna", "rot13", "base64", "undefined", "hex", "no-such"])
def test_what_is_no_encoding_of_texts_is_none(name: str) -> None:
    assert not only_python_knows(name)
