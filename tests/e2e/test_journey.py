"""One file goes all the way, on both transports: upload, live progress, records, errors, webhook, investigation."""

import asyncio
import hashlib
import os

import pytest

from tests.e2e.stack import until
from tests.notifier.receiver import receiving

BOOKS = """title,author,isbn,publication_year
Über den Fluß,Jürgen Groß,978-3-522-17750-4,1999
"A title, with a comma
and a line break",Ann O'Nym,3-522-17750-9,2001
Wrong digit,B. Ooks,978-3-522-17750-9,2001
Too few,cells
,No Title,0-306-40615-2,1980

Good one,Last Author,0-306-40615-2,1980
"""


@pytest.fixture
async def stack(new_stack):
    return await new_stack().started()


@pytest.fixture
def books(tmp_path):
    path = tmp_path / "bücher.csv"
    path.write_text(BOOKS, encoding="utf-8")
    return path


async def test_a_file_goes_all_the_way(stack, books):
    async with receiving() as receiver:
        endpoint = await stack.webhook(receiver.url, "import.*", "investigation.opened")

        accepted = await stack.upload(books, "books", source="Acme Books")
        assert accepted["sha256"] == hashlib.sha256(books.read_bytes()).hexdigest()
        assert accepted["rows_detected"] == 6
        assert (await stack.get(f"/imports/{accepted['id']}"))["file_name"] == "bücher.csv"

        states = [state async for state in stack.follow(accepted["id"])]
        assert states[-1]["status"] == "completed"
        processed = [state["rows_processed"] for state in states]
        assert processed == sorted(processed)

        done = await stack.finished(accepted["id"])
        assert {name: done[name] for name in done if name.startswith("rows_")} == {
            "rows_detected": 6,
            "rows_processed": 6,
            "rows_inserted": 2,
            "rows_updated": 0,
            "rows_unchanged": 0,
            "rows_duplicate": 1,
            "rows_rejected": 3,
            "rows_corrected": 0,
        }
        assert done["percent_complete"] == 100

        errors = (await stack.get(f"/imports/{accepted['id']}/errors"))["items"]
        assert [(error["row_number"], error["line_number"], error["code"]) for error in errors] == [
            (2, 3, "duplicate_key"),
            (3, 5, "isbn_invalid"),
            (4, 6, "missing_cell"),
            (5, 7, "value_missing"),
        ]
        assert errors[0]["raw_data"].startswith('"A title, with a comma\nand')
        content = books.read_bytes()
        for error in errors:
            assert content[error["byte_offset"] :].startswith(error["raw_data"].encode())

        receipt = await stack.get(f"/imports/{accepted['id']}/receipt")
        assert receipt["rows_read"] == 6
        assert receipt["sha256"] == accepted["sha256"]

        records = (await stack.get("/records/books"))["items"]
        assert {record["isbn"] for record in records} == {"9783522177504", "9780306406157"}

        await until(lambda: enough(receiver, 2), 20, what=lambda: str(receiver.received))
        payloads = [received.verified(endpoint["secret"]) for received in receiver.received]
        by_type = {payload["type"]: payload["data"] for payload in payloads}
        assert by_type["import.completed"]["import_id"] == accepted["id"]
        assert by_type["import.completed"]["rows_rejected"] == 3
        assert by_type["investigation.opened"]["supplier"] == "Acme Books"

    [investigation] = (await stack.get("/investigations"))["items"]
    assert investigation["reason"] == "row_errors"


async def enough(receiver, count: int) -> bool:
    return len(receiver.received) >= count


# One process cannot be without its processor: on the embedded transport the file would be read before it is touched.
without_processor = pytest.mark.parametrize("bus_url", ["rabbitmq"], indirect=True)


@without_processor
async def test_an_import_whose_file_was_cut_short_fails_and_says_so(new_stack, books):
    stack = new_stack()
    await stack.started("upload", "results", "notifier")
    async with receiving() as receiver:
        endpoint = await stack.webhook(receiver.url, "import.failed")
        accepted = await stack.upload(books, "books", source="Acme Books")
        assert (await stack.get(f"/imports/{accepted['id']}"))["status"] == "pending"
        os.truncate(stack.stored(accepted["id"]), 100)
        await stack.started("processor")
        done = await stack.finished(accepted["id"])
        assert (done["status"], done["error_code"]) == ("failed", "file_truncated")
        [received] = await receiver.wait_for(1)
        assert received.verified(endpoint["secret"])["data"]["error_code"] == "file_truncated"
    await until(lambda: has_investigation(stack, "import_failed"), 10)


@without_processor
async def test_an_import_waits_for_a_file_that_is_away(new_stack, books):
    stack = new_stack()
    await stack.started("upload", "results", "notifier")
    accepted = await stack.upload(books, "books")
    stored = stack.stored(accepted["id"])
    away = stored.rename(stack.folder / "away")
    await stack.started("processor")

    async def is_parked() -> bool:
        return bool(await stack.rows("SELECT FROM bus.outbox WHERE queue = 'processor.imports'"))

    async def is_taken() -> bool:
        return (await stack.get(f"/imports/{accepted['id']}"))["status"] == "processing"

    await until(is_parked, 30)
    await until(is_taken, 10)
    assert await is_parked()
    away.rename(stored)
    done = await stack.finished(accepted["id"])
    assert (done["status"], done["rows_inserted"]) == ("completed", 2)


async def has_investigation(stack, reason: str) -> bool:
    return any(item["reason"] == reason for item in (await stack.get("/investigations"))["items"])


async def test_cancel_stops_an_import_that_is_under_way(new_stack, tmp_path):
    stack = await new_stack(PENSTOCK_SLICE_BYTES=str(2 * 1024**2)).started()
    path = tmp_path / "products.csv"
    description = "long " * 100  # 20 slices
    lines = (f"S-{number},Name,{description}\n" for number in range(80_000))
    path.write_text("sku,name,description\n" + "".join(lines))
    accepted = await stack.upload(path, "products")
    await until(lambda: has_begun(stack), 30)
    response = await stack.http.post(stack.url(f"/uploads/{accepted['id']}/cancel"))
    assert response.status_code == 202
    done = await stack.finished(accepted["id"])
    assert done["status"] == "cancelled"
    [(count,)] = await stack.rows("SELECT count(*) FROM data.products")
    assert 0 < count == done["rows_inserted"] == done["rows_processed"] < 80_000


async def has_begun(stack) -> bool:
    return bool(await stack.rows("SELECT FROM processor.imports WHERE rows_processed > 0"))


async def test_tenants_see_only_their_own(stack, books):
    from tests.e2e.stack import token

    accepted = await stack.upload(books, "books")
    await stack.finished(accepted["id"])
    stranger = {"Authorization": f"Bearer {token('other')}"}
    for path in ("", "/errors", "/receipt", "/events"):
        response = await stack.http.get(stack.url(f"/imports/{accepted['id']}{path}"), headers=stranger)
        assert response.status_code == 404, path
    assert (await stack.http.get(stack.url("/imports"), headers=stranger)).json()["items"] == []
    assert (await stack.http.get(stack.url("/records/books"), headers=stranger)).json()["items"] == []


async def test_many_uploads_at_once_each_end_right(stack, tmp_path):
    files = []
    for number in range(12):
        path = tmp_path / f"products-{number}.csv"
        path.write_text("sku,name\n" + "".join(f"S-{number}-{row},Name {row}\n" for row in range(500)))
        files.append(path)
    accepted = await asyncio.gather(*(stack.upload(path, "products") for path in files))
    ended = await asyncio.gather(*(stack.finished(one["id"]) for one in accepted))
    assert [done["rows_inserted"] for done in ended] == [500] * 12
    [(count,)] = await stack.rows("SELECT count(*) FROM data.products")
    assert count == 6000
