"""`GET /imports/{id}/errors.csv`: the parts in the store, one after the other, in constant memory."""

import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest

from services.results.errors.error_file import ErrorFile, Part, error_file_name
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.error_file import REMARKS, error_file_header
from shared.platform.objects import Objects
from shared.reading.header import columns_of, match_header
from tests.results.conftest import Results
from tests.results.given import Database

MIB = 1024**2


@pytest.fixture
def store(environment: dict[str, str]) -> Path:
    folder = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def keep(store: Path, database: Database) -> Callable[..., object]:
    """Write parts of an import's error file as the processor does."""

    async def written(import_id: UUID, *parts: bytes, begin: int = 0) -> None:
        for number, content in enumerate(parts, begin):
            key = f"errors/{import_id}/{number}"
            path = store / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            await database.error_part(import_id, number, key, len(content))

    return written


async def test_the_parts_are_one_file(results: Results, database: Database, keep) -> None:
    import_id = await database.uploaded_import(file_name="Bücher 2024.csv")
    await database.work(import_id)
    header, first, second = b"isbn,_line,_codes,_messages\r\n", "ö,2,a,b\r\n".encode(), b"y,3,a,b\r\n"
    await keep(import_id, header + first, *([second] * 11))  # more than ten: by number, not by name
    answer = await results.get(f"/imports/{import_id}/errors.csv")
    assert (answer.status_code, answer.content) == (200, header + first + second * 11)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"B_cher 2024-errors.csv\"; filename*=UTF-8''B%C3%BCcher%202024-errors.csv"
    )


async def test_while_the_import_runs_there_is_what_there_is(
    results: Results, database: Database, keep
) -> None:
    import_id = await database.uploaded_import()
    await database.work(import_id)
    await keep(import_id, b"one\n")
    assert (await results.get(f"/imports/{import_id}/errors.csv")).content == b"one\n"
    await keep(import_id, b"two\n", begin=1)
    assert (await results.get(f"/imports/{import_id}/errors.csv")).content == b"one\ntwo\n"


async def test_without_row_errors_it_is_the_header(results: Results, database: Database) -> None:
    import_id = await database.uploaded_import(header=["Title", "My, ISBN"])
    answer = await results.get(f"/imports/{import_id}/errors.csv")
    assert (answer.status_code, answer.text) == (200, 'Title,"My, ISBN",_line,_codes,_messages\r\n')
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_a_part_that_is_gone_is_said_to_be(
    results: Results, database: Database, keep, store: Path
) -> None:
    import_id = await database.uploaded_import()
    await database.work(import_id)
    await keep(import_id, b"one\n")
    (store / f"errors/{import_id}/0").unlink()
    answer = await results.get(f"/imports/{import_id}/errors.csv")
    assert (answer.status_code, answer.json()["code"]) == (404, "error_file_not_found")


async def test_a_large_part_passes_in_constant_memory(store: Path, environment: dict[str, str]) -> None:
    size = 100 * MIB
    with (store / "large").open("wb") as file:
        file.truncate(size)
    file = ErrorFile("x-errors.csv", b"", [Part("large", size), Part("large", size)])
    objects = Objects(environment["PENSTOCK_STORE_URL"])

    async def read(chunks: AsyncIterator[bytes]) -> int:
        return sum([len(chunk) async for chunk in chunks])

    tracemalloc.start()
    try:
        assert await read(file.chunks(objects)) == file.size == 2 * size
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("books.csv", "books-errors.csv"),
        ("books.CSV.gz", "books-errors.csv"),
        ("books.tsv", "books-errors.csv"),
        ("books", "books-errors.csv"),
        ("v1.2", "v1.2-errors.csv"),
        ("a.csv.txt", "a.csv-errors.csv"),
    ],
)
def test_the_name(file_name: str, name: str) -> None:
    assert error_file_name(file_name) == name


@pytest.mark.parametrize(
    ("header", "delimiter", "line"),
    [
        (["Title", "ISBN"], ",", b"Title,ISBN,_line,_codes,_messages\r\n"),
        (["Title", "ISBN"], ";", b"Title;ISBN;_line;_codes;_messages\r\n"),
        (["Title", "ISBN"], "||", b"Title,ISBN,_line,_codes,_messages\r\n"),
        ([], "\t", b"column_1\tisbn\ttitle\t_line\t_codes\t_messages\r\n"),
    ],
)
def test_the_header_alone(header: list[str], delimiter: str, line: bytes) -> None:
    assert error_file_header(header, {"title": 2, "isbn": 1}, 3, delimiter) == line


@pytest.mark.parametrize("dataset", datasets().values(), ids=lambda dataset: dataset.name)
def test_its_remarks_are_no_columns_of_a_dataset_when_it_is_sent_again(dataset: Dataset) -> None:
    names = [field.name for field in dataset.file_fields]
    assert match_header([*names, *REMARKS], columns_of(dataset)).unknown == REMARKS
