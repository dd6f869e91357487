"""Files that come in pieces side by side, and are put together by reference."""

import asyncio
from itertools import pairwise
from uuid import uuid4

import pytest

from services.upload.tus import creation
from tests.upload.conftest import BOOKS
from tests.upload.replica import ACME, replicas
from tests.upload.resumable import Tus, books, metadata

SAID = metadata(filename="books.csv", dataset="books")


@pytest.fixture
def tus(upload):
    return Tus(upload.client, upload.secret)


async def partial(tus, content):
    path = await tus.created(len(content), Upload_Concat="partial")
    response = await tus.patch(path, 0, content)
    assert (response.status_code, response.headers["upload-offset"]) == (204, str(len(content)))
    return path


async def final(tus, *paths, said=SAID):
    return await tus.create(None, Upload_Concat="final;" + " ".join(paths), Upload_Metadata=said)


def code_of(response):
    return response.status_code, response.json()["code"]


async def test_pieces_become_one_file_in_the_order_that_is_said(upload, tus):
    content = books(2000)
    cuts = [0, 10, 10, 20_000, 40_001, len(content)]
    pieces = [content[start:end] for start, end in pairwise(cuts)]
    paths = list(reversed([await partial(tus, piece) for piece in reversed(pieces)]))
    assert await upload.rows() == []
    absolute = [f"https://penstock.example{path}" for path in paths[:2]] + paths[2:]
    response = await final(tus, *absolute)
    assert response.status_code == 201
    assert response.headers["upload-offset"] == str(len(content))
    assert response.headers["penstock-import"]
    (row,) = await upload.rows()
    assert await upload.comes_to_hold({row["object_key"]: content})
    head = await tus.head(response.headers["location"])
    assert head.headers["upload-concat"] == "final;" + " ".join(absolute)
    assert head.headers["upload-length"] == head.headers["upload-offset"] == str(len(content))


async def test_a_partial_says_that_it_is_one_and_never_ends_by_itself(upload, tus):
    path = await partial(tus, BOOKS)
    head = await tus.head(path)
    assert head.headers["upload-concat"] == "partial"
    assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(BOOKS))
    assert (await tus.show(path))["state"] == "receiving"
    assert await upload.events() == []


async def test_a_piece_may_come_twice_in_a_file(upload, tus):
    head, line = await partial(tus, BOOKS), await partial(tus, BOOKS.splitlines(keepends=True)[1])
    assert (await final(tus, head, line, line)).status_code == 201
    (row,) = await upload.rows()
    assert row["rows_detected"] == 3


async def test_bytes_cannot_be_sent_to_a_final(tus):
    path = (await final(tus, await partial(tus, BOOKS))).headers["location"]
    assert code_of(await tus.patch(path, len(BOOKS), b"x")) == (403, "upload_is_final")
    assert code_of(await tus.patch(path, 0, b"")) == (403, "upload_is_final")


async def test_what_cannot_be_put_together(upload, tus, database):
    whole, good = await tus.created(len(BOOKS)), await partial(tus, BOOKS)
    unfinished = await tus.created(len(BOOKS), Upload_Concat="partial")
    unknown_length = await tus.created(None, Upload_Concat="partial", Upload_Defer_Length=1)
    other = Tus(upload.client, upload.secret, tenant="other")
    theirs, unknown = await partial(other, BOOKS), f"/api/v1/tus/{uuid4()}"
    expired = await partial(tus, BOOKS)
    await database.execute(
        "UPDATE upload.tus_uploads SET expires_at = now() WHERE id = $1::uuid", expired.rpartition("/")[2]
    )
    for path, expected in (
        (whole, (422, "partials_unfit")),
        (unfinished, (422, "partials_unfit")),
        (unknown_length, (422, "partials_unfit")),
        (theirs, (404, "upload_not_found")),
        (unknown, (404, "upload_not_found")),
        (expired, (404, "upload_not_found")),
        ("/api/v1/tus/x", (400, "tus_header_invalid")),
    ):
        assert code_of(await final(tus, good, path)) == expected
    assert code_of(await final(tus, good, said=metadata(dataset="bokks"))) == (422, "dataset_unknown")
    assert code_of(await final(tus, good, said="")) == (422, "dataset_missing")
    response = await tus.create(5, Upload_Concat=f"final;{good}", Upload_Metadata=SAID)
    assert code_of(response) == (400, "tus_header_invalid")
    response = await tus.create(None, BOOKS, Upload_Concat=f"final;{good}", Upload_Metadata=SAID)
    assert code_of(response) == (400, "tus_header_invalid")
    assert await upload.rows() == []
    assert (await final(tus, good)).status_code == 201


async def test_pieces_together_are_no_larger_than_a_file_may_be(tus, database):
    first, second = await partial(tus, BOOKS), await partial(tus, BOOKS)
    await database.execute(
        "INSERT INTO upload.tenant_limits (tenant, max_bytes) VALUES ('acme', $1)", 2 * len(BOOKS) - 1
    )
    assert code_of(await final(tus, first, second)) == (413, "file_too_large")


async def test_pieces_go_with_the_file_that_they_became(upload, tus, database):
    path = await partial(tus, BOOKS)
    await final(tus, path)
    assert (await tus.head(path)).status_code == 404
    async with asyncio.timeout(10):  # they are removed when the import is told of already
        while await database.fetchval("SELECT count(*) FROM upload.tus_parts"):
            await asyncio.sleep(0.01)
    assert len(upload.objects()) == 1


async def test_pieces_of_a_refused_file_can_be_put_together_again(upload, tus):
    path = await partial(tus, BOOKS)
    said = metadata(filename="books.csv", dataset="sales")
    assert code_of(await final(tus, path, said=said)) == (422, "header_missing")
    assert (await final(tus, path)).status_code == 201
    assert len(await upload.rows()) == 1


async def test_an_empty_final_is_refused(tus):
    assert code_of(await final(tus, await partial(tus, b""))) == (422, "file_empty")


async def test_a_tenant_has_so_many_pieces_at_most(tus, monkeypatch):

    monkeypatch.setattr(creation, "MAX_OPEN_PARTIALS", 2)
    first = await partial(tus, BOOKS)
    await partial(tus, b"x")
    response = await tus.create(5, Upload_Concat="partial")
    assert code_of(response) == (429, "too_many_partials")
    assert response.headers["retry-after"]
    await tus.delete(first)
    assert (await tus.create(5, Upload_Concat="partial")).status_code == 201


async def test_pieces_stay_while_they_are_needed(environment, database):
    async with replicas(environment, 2) as (one, other):
        piece = await one.create(len(BOOKS), "partial")
        await one.append(piece, 0, BOOKS)
        first = await one.create(None, f"final;{piece}")
        second = await other.create(None, f"final;{piece}", dry_run="true")
        with pytest.raises(Exception, match="is being checked"):
            await one.writing.remove(ACME, piece)
        await database.execute("UPDATE upload.tus_uploads SET expires_at = now() - interval '1 day'")
        await one.sweep()
        await one.finish(first)
        assert await database.fetchval("SELECT count(*) FROM upload.tus_parts WHERE state = 'kept'") == 1
        await one.sweep()
        await other.finish(second)
        assert await database.fetchval("SELECT count(*) FROM upload.imports") == 2
        assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0
        assert await database.fetchval("SELECT count(*) FROM upload.tus_uploads WHERE kind = 'partial'") == 0


async def test_finals_of_the_same_pieces_end_side_by_side(environment, database):
    """Each would remove the pieces: neither may wait for the other for ever, and the last one does it."""
    async with replicas(environment, 2) as both:
        pieces = [await both[0].create(len(BOOKS), "partial") for _ in range(4)]
        for piece in pieces:
            await both[0].append(piece, 0, BOOKS)
        orders = [pieces, pieces[::-1]] * 3
        finals = [
            await both[0].create(None, "final;" + " ".join(map(str, order)), force="true") for order in orders
        ]
        await asyncio.gather(*(both[n % 2].finish(each) for n, each in enumerate(finals)))
        assert await database.fetchval("SELECT count(*) FROM upload.imports") == len(finals)
        assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0
