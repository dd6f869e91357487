"""`GET /imports/{id}/file` and `/rows/{n}/raw`: bytes as they came, all of them or a part, in constant memory."""

import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.results.downloads import stored_bytes
from services.results.files.ranges import RangeUnsatisfiable, range_of
from shared.contracts.dialect import Dialect
from shared.platform.objects import ObjectMissing, Objects
from tests.results.conftest import Results
from tests.results.given import Database, headers

CONTENT = 'isbn\r\nMüll,1\r\n"two\nlines",2\r\n'.encode("cp1252") + b"".join(
    b"%d,x\n" % n for n in range(300)
)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{SHA256}"'
MIB = 1024**2

Keep = Callable[..., Awaitable[UUID]]


@pytest.fixture
def store(environment: dict[str, str]) -> Path:
    folder = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def keep(store: Path, database: Database) -> Keep:
    """Store a file as upload does."""

    async def stored(content: bytes = CONTENT, **values: object) -> UUID:
        facts = {"file_size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        dialect = Dialect(encoding="cp1252").model_dump()
        import_id = await database.uploaded_import(**facts | {"dialect": dialect} | values)
        path = store / f"uploads/{import_id}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return import_id

    return stored


async def asked(results: Results, path: str, *, method: str = "GET", **given: str) -> httpx.Response:
    """Ask with the headers `given`, such as `if_range`."""
    more = {name.replace("_", "-"): value for name, value in given.items()}
    return await results.client.request(method, f"/api/v1{path}", headers=headers(results.secret) | more)


async def test_the_whole_file_comes_as_it_was_sent(results: Results, keep: Keep) -> None:
    import_id = await keep(file_name="Bücher 2024.csv.gz")
    link = (await results.get(f"/imports/{import_id}")).json()["links"]["file"]
    answer = await asked(results, link.removeprefix("/api/v1"))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    expected = {
        "content-type": "text/csv; charset=windows-1252",
        "content-length": str(SIZE),
        "etag": ETAG,
        "accept-ranges": "bytes",
        "content-disposition": "attachment; filename=\"B_cher 2024.csv\"; filename*=UTF-8''B%C3%BCcher%202024.csv",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "content-range" not in answer.headers
    head = await asked(results, f"/imports/{import_id}/file", method="HEAD", range="bytes=0-1")
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in expected} == expected


WHOLE = (200, CONTENT, None)
OUTSIDE = (416, None, f"bytes */{SIZE}")


def part(start: int, stop: int = SIZE) -> tuple[int, bytes, str]:
    return 206, CONTENT[start:stop], f"bytes {start}-{stop - 1}/{SIZE}"


# RFC 9110, section 14.2: what is no range that the server understands, it answers with the whole.
RANGES = {
    "bytes=0-0": part(0, 1),
    "bytes=5-9": part(5, 10),
    "bytes=5-": part(5),
    "bytes=-7": part(SIZE - 7),
    "Bytes=0-": part(0),
    f"bytes=0-{SIZE + 100}": part(0),
    f"bytes=-{SIZE + 100}": part(0),
    f"bytes={SIZE - 1}-": part(SIZE - 1),
    "bytes=0-1,4-5": WHOLE,
    "lines=0-1": WHOLE,
    "bytes=9-5": WHOLE,
    "bytes=-": WHOLE,
    "bytes": WHOLE,
    "bytes=a-b": WHOLE,
    "bytes=0-1x": WHOLE,
    f"bytes={'9' * 30}-": WHOLE,
    f"bytes={SIZE}-": OUTSIDE,
    f"bytes={SIZE + 5}-{SIZE + 9}": OUTSIDE,
    "bytes=-0": OUTSIDE,
}


async def test_a_range_of_it(results: Results, keep: Keep, subtests: pytest.Subtests) -> None:
    import_id = await keep()
    for wanted, (status, content, content_range) in RANGES.items():
        with subtests.test(wanted):
            answer = await asked(results, f"/imports/{import_id}/file", range=wanted)
            assert (answer.status_code, answer.headers.get("content-range")) == (status, content_range)
            assert answer.headers["content-length"] == str(len(answer.content))
            if content is None:
                assert answer.json()["code"] == "range_not_satisfiable"
                assert str(SIZE - 1) in answer.json()["hint"]
            else:
                assert answer.content == content
                assert answer.headers["etag"] == ETAG


async def test_a_range_of_another_file_is_the_whole_of_this(
    results: Results, keep: Keep, subtests: pytest.Subtests
) -> None:
    import_id = await keep()
    changed = "Sun, 01 Mar 2026 12:00:00 GMT"
    for known, status in {ETAG: 206, f"W/{ETAG}": 200, '"other"': 200, changed: 200}.items():
        with subtests.test(known):
            answer = await asked(results, f"/imports/{import_id}/file", range="bytes=1-2", if_range=known)
            assert answer.status_code == status


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_python_slices(size: int, first: int, last: int) -> None:
    content = bytes(range(size))

    def part(header: str) -> bytes | None:
        try:
            found = range_of(header, size, etag="", if_range=None)
        except RangeUnsatisfiable:
            return b""
        return found and content[found.start : found.stop]

    assert part(f"bytes={first}-") == content[first:]
    assert part(f"bytes=-{last}") == (content[-last:] if last else b"")
    assert part(f"bytes={first}-{last}") == (None if last < first else content[first : last + 1])


async def test_a_file_that_is_gone_is_said_to_be(results: Results, keep: Keep, store: Path) -> None:
    import_id = await keep()
    (store / f"uploads/{import_id}").unlink()
    for method in ("GET", "HEAD"):
        answer = await asked(results, f"/imports/{import_id}/file", method=method)
        assert answer.status_code == 404
    answer = await asked(results, f"/imports/{import_id}/file", range="bytes=-3")
    assert answer.json()["code"] == "file_not_found"


async def test_a_large_file_passes_in_constant_memory(store: Path, environment: dict[str, str]) -> None:
    size = 100 * MIB
    with (store / "large").open("wb") as file:
        file.truncate(size)
    objects = Objects(environment["PENSTOCK_STORE_URL"])

    async def read(chunks: AsyncIterator[bytes]) -> int:
        return sum([len(chunk) async for chunk in chunks])

    tracemalloc.start()
    try:
        assert await read(stored_bytes(objects, "large", 1, size - 2)) == size - 2
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()
    with pytest.raises(ObjectMissing, match=f"ends at byte {size}"):
        await read(stored_bytes(objects, "large", size - 3, 10))


@pytest.mark.parametrize(
    ("place", "raw"),
    [
        ({"Row": "1", "Line": "2", "Offset": "6"}, "Müll,1\r\n"),
        ({"Row": "2", "Line": "3", "Offset": "14"}, '"two\nlines",2\r\n'),
        ({"Row": "302", "Line": "304", "Offset": str(SIZE - 6)}, "299,x\n"),
    ],
)
async def test_one_record_as_it_stands_there(
    results: Results, database: Database, keep: Keep, place: dict[str, str], raw: str
) -> None:
    import_id = await keep(column_count=2)
    await database.work(import_id, record_number=302)
    answer = await asked(results, f"/imports/{import_id}/rows/{place['Row']}/raw")
    assert (answer.status_code, answer.content) == (200, raw.encode("cp1252"))
    assert answer.headers["content-type"] == "text/csv; charset=windows-1252"
    assert answer.headers["content-length"] == str(len(answer.content))
    names = {"Row": "penstock-row-number", "Line": "penstock-line-number", "Offset": "penstock-byte-offset"}
    assert {name: answer.headers[names[name]] for name in names} == place


async def test_a_record_that_is_not_there(
    results: Results, database: Database, keep: Keep, store: Path
) -> None:
    import_id = await keep(column_count=2)
    path = f"/imports/{import_id}/rows"
    assert (await results.get(f"{path}/1/raw")).json()["code"] == "row_not_read_yet"
    await database.work(import_id, record_number=302)
    assert (await results.get(f"{path}/303/raw")).json()["code"] == "row_not_read_yet"
    await database.connection.execute("UPDATE processor.imports SET phase = 'filing'")
    answer = await results.get(f"{path}/303/raw")
    assert (answer.status_code, answer.json()["code"]) == (404, "row_not_found")
    assert "302" in answer.json()["detail"]
    for none in ("0", "-1", "one", str(2**63)):
        assert (await results.get(f"{path}/{none}/raw")).status_code == 422
    (store / f"uploads/{import_id}").write_bytes(CONTENT[:100])
    assert (await results.get(f"{path}/302/raw")).json()["code"] == "file_not_found"
    (store / f"uploads/{import_id}").unlink()
    assert (await results.get(f"{path}/1/raw")).json()["code"] == "file_not_found"


async def test_a_record_too_long_to_be_read_comes_whole(
    results: Results, database: Database, keep: Keep
) -> None:
    long = b'"' + b"x" * (5 * MIB) + b'",2\r\n'
    import_id = await keep(b"isbn,n\r\n1,1\r\n" + long + b"3,3\r\n", column_count=2)
    await database.work(import_id, record_number=3)
    answer = await results.get(f"/imports/{import_id}/rows/2/raw")
    assert answer.content == long
