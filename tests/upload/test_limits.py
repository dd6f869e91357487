"""How much a tenant may send, on however many replicas."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.limits import forget_uploads, own_limits, set_own_limits
from services.upload import repository_admission as noted
from services.upload.draining import DRAIN_BYTES
from services.upload.limits import WINDOW, Limits, Sizes, quota_of
from shared.platform.database import engine_for
from tests.upload.conftest import BOOKS, bearer, end_one, held_back, processor_says, running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SALES = b"date,product,quantity,price\n"


def book(number):
    return BOOKS + f"Book {number},Ende,,1973\n".encode()


@pytest.fixture
async def limited(environment, database, monkeypatch):
    """An upload service with limits, and a second one beside it on the same database and store."""
    monkeypatch.setenv("PENSTOCK_UPLOADS_PER_MINUTE", "5")
    monkeypatch.setenv("PENSTOCK_IMPORTS_AT_ONCE", "8")
    async with running(environment, database) as first, running(environment, database) as second:
        yield first, second


@pytest.mark.parametrize(
    ("taken", "oldest_seconds_ago", "remaining", "reset"),
    [(0, None, 5, 0), (1, 0, 4, 60), (4, 59.5, 1, 1), (5, 12.3, 0, 48), (7, 10, 0, 50), (5, 61, 0, 0)],
)
def test_a_quota_tells_what_is_left_and_when_there_is_more(taken, oldest_seconds_ago, remaining, reset):
    oldest = None if oldest_seconds_ago is None else NOW - timedelta(seconds=oldest_seconds_ago)
    quota = quota_of(5, oldest, taken, NOW)
    assert (quota.remaining, quota.reset) == (remaining, reset)
    assert quota.headers()["RateLimit-Policy"] == "5;w=60"


def test_a_tenants_own_limits_go_before_the_default():
    default = Limits(10, 20, Sizes(1000, {"sales": 10}))
    assert default.with_own(uploads_per_minute=None, imports_at_once=None, max_bytes=None) == default
    own = default.with_own(uploads_per_minute=3, imports_at_once=None, max_bytes=50)
    assert (own.uploads_per_minute, own.imports_at_once) == (3, 20)
    assert [own.sizes.limit(name) for name in ("sales", "books", None)] == [50, 50, 50]


def test_a_file_whose_dataset_is_not_known_yet_may_be_as_large_as_any():
    sizes = Sizes(100, {"sales": 10, "parts": 1000})
    assert [sizes.limit(name) for name in ("sales", "books", "parts", None)] == [10, 100, 1000, 1000]


async def test_so_many_uploads_a_minute_then_the_next_is_told_when(limited):
    first, second = limited
    for number in range(5):
        service = (first, second)[number % 2]
        response = await service.form(book(number))
        assert response.status_code == 202
        assert response.headers["ratelimit-limit"] == "5"
        assert response.headers["ratelimit-remaining"] == str(4 - number)
    for service in limited:
        response = await service.form(book(9))
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        assert 0 < int(response.headers["retry-after"]) <= 60
        assert response.headers["ratelimit-remaining"] == "0"
        assert response.headers["ratelimit-reset"] == response.headers["retry-after"]
    assert len(await first.rows()) == len(first.objects()) == 5


async def test_replicas_asked_at_once_let_no_more_in_than_one(limited):
    responses = await asyncio.gather(*(limited[number % 2].form(book(number)) for number in range(16)))
    assert sorted(response.status_code for response in responses) == [202] * 5 + [429] * 11


async def test_what_is_refused_does_not_count(limited):
    service, _ = limited
    for _ in range(8):
        response = await service.form(b"no,such,columns\n1,2,3\n")
        assert response.status_code == 422
        assert response.headers["ratelimit-remaining"] == "5"
    assert (await service.form(book(1))).headers["ratelimit-remaining"] == "4"


async def test_a_tenants_uploads_are_its_own(limited):
    service, _ = limited
    for number in range(5):
        await service.form(book(number))
    other = bearer(service.secret, "imports:write", tenant="other")
    assert (await service.form(book(1), headers=other)).status_code == 202


async def test_the_minute_passes(limited, database):
    service, _ = limited
    for number in range(5):
        await service.form(book(number))
    await database.execute(
        "UPDATE upload.rates SET taken = ARRAY(SELECT t - interval '30 s' FROM unnest(taken) t)"
    )
    refused = await service.form(book(7))
    assert int(refused.headers["retry-after"]) <= 30
    await database.execute(
        "UPDATE upload.rates SET taken = ARRAY(SELECT t - interval '30 s' FROM unnest(taken) t)"
    )
    assert (await service.form(book(8))).headers["ratelimit-remaining"] == "4"


async def test_only_so_many_imports_are_open_at_once(limited, database, database_url):
    service, _ = limited
    set_limits(database_url, uploads_per_minute=100)
    for number in range(8):
        assert (await service.form(book(number))).status_code == 202
    refused = await service.form(book(9))
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_imports")
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["ratelimit-remaining"] == "92"  # the refused one does not count
    await end_one(database, "completed")
    assert (await service.form(book(10))).status_code == 202
    assert (await service.form(book(11))).status_code == 429


async def test_uploads_in_progress_are_open_too(limited, database_url):
    """So a large file is not sent in vain."""
    service, _ = limited
    set_limits(database_url, imports_at_once=1)
    slowly, go_on = held_back()
    first = asyncio.create_task(service.raw(slowly))
    async with asyncio.timeout(10):
        while not await service.database.fetchval("SELECT count(*) FROM upload.intakes"):
            await asyncio.sleep(0.01)
    assert (await service.form(book(1))).json()["code"] == "too_many_imports"
    go_on.set()
    assert (await first).status_code == 202


async def test_an_import_that_is_tried_again_is_open_again(limited, database, database_url):
    service, _ = limited
    set_limits(database_url, uploads_per_minute=100)
    for number in range(8):
        await service.form(book(number))
    import_id = await end_one(database, "failed")
    retried = await retry(service, import_id)
    assert retried.status_code == 202
    await database.execute(
        "UPDATE processor.imports SET status = 'processing', finished_at = NULL, error_code = NULL"
    )
    assert (await service.form(book(9))).status_code == 429


async def test_a_retry_needs_room_too(limited, database, database_url):
    service, _ = limited
    set_limits(database_url, imports_at_once=1)
    await service.form(book(1))
    failed = await end_one(database, "failed")
    await service.form(book(2))
    refused = await retry(service, failed)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_imports")


async def test_what_is_told_to_go_on_is_open_before_the_processor_hears_of_it(
    limited, database, database_url
):
    service, _ = limited
    imports = [(await service.form(book(number))).json()["id"] for number in range(3)]
    for import_id in imports:
        await processor_says(database, import_id, "failed")
    set_limits(database_url, imports_at_once=1)
    said = [await retry(service, import_id) for import_id in imports]
    assert [answer.status_code for answer in said] == [202, 429, 429]
    assert (await service.form(book(9))).json()["code"] == "too_many_imports"
    again = await retry(service, imports[0])
    assert (again.json()["code"], again.json()["import_status"]) == ("import_not_failed", "processing")
    await processor_says(database, imports[0], "failed", run=2)
    assert (await retry(service, imports[1])).status_code == 202


async def test_what_was_sent_again_is_not_retried(upload, database):
    """Or the same bytes would be loaded twice."""
    await upload.form()
    failed = await end_one(database, "failed")
    again = (await upload.form()).json()["id"]
    refused = await retry(upload, failed)
    assert (refused.status_code, refused.json()["code"]) == (409, "file_already_imported")
    assert refused.json()["import_id"] == again


async def test_what_is_told_to_go_on_is_not_taken_again(upload, database):
    failed = (await upload.form()).json()["id"]
    await processor_says(database, failed, "failed")
    assert (await retry(upload, failed)).status_code == 202
    refused = await upload.form()
    assert (refused.status_code, refused.json()["code"]) == (409, "file_already_imported")
    assert refused.json()["import_id"] == failed


async def test_of_two_that_failed_with_the_same_bytes_one_is_retried(upload, database):
    first = (await upload.form()).json()["id"]
    await processor_says(database, first, "failed")
    second = (await upload.form()).json()["id"]
    await processor_says(database, second, "failed")
    assert (await retry(upload, first)).status_code == 202
    assert (await retry(upload, second)).json()["import_id"] == first
    await processor_says(database, first, "completed", run=2)
    assert (await retry(upload, second)).json()["code"] == "file_already_imported"


@pytest.mark.parametrize("option", ["force", "dry_run"])
async def test_what_may_be_loaded_twice_or_not_at_all_may_be_retried(upload, database, option):
    await processor_says(database, (await upload.form()).json()["id"], "completed")
    failed = (await upload.form(**{option: "true"})).json()["id"]
    await processor_says(database, failed, "failed")
    assert (await retry(upload, failed)).status_code == 202


async def retry(service, import_id):
    headers = bearer(service.secret, "imports:write")
    return await service.client.post(f"/api/v1/uploads/{import_id}/retry", headers=headers)


def set_limits(database_url, **limits):
    every = {"uploads_per_minute": None, "imports_at_once": None, "max_bytes": None}
    in_thread(set_own_limits, database_url, "acme", **(every | limits))


def in_thread(work, *arguments, **more):
    """Call a command's function, which has an event loop of its own."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *arguments, **more).result()


async def test_a_tenant_may_have_limits_of_its_own(limited, database_url):
    service, _ = limited
    set_limits(database_url, uploads_per_minute=2, max_bytes=200)
    assert in_thread(own_limits, database_url) == [("acme", "2", "-", "200")]
    assert (await service.form(book(1))).headers["ratelimit-limit"] == "2"
    large = await service.form(book(1) * 10)
    assert (large.status_code, large.json()["limit_bytes"]) == (413, 200)
    assert (await service.form(book(2))).status_code == 202
    assert (await service.form(book(3))).status_code == 429
    in_thread(forget_uploads, database_url, "acme")
    assert (await service.form(book(3))).status_code == 202
    set_limits(database_url)
    assert in_thread(own_limits, database_url) == []
    assert (await service.form(book(4))).headers["ratelimit-limit"] == "5"


@pytest.mark.parametrize("way", ["named before", "named behind", "raw"])
async def test_a_dataset_has_its_own_size(environment, database, monkeypatch, way):
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES_BY_DATASET", '{"sales": 1000}')
    async with running(environment, database) as service:
        content = b"transaction_id,date,sku,quantity,unit_price\n" + b"".join(
            b"T%d,2024-01-02,S1,1,2.50\n" % number for number in range(100)
        )
        response = await send(service, content, way, dataset="sales")
        assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
        assert response.json()["limit_bytes"] == 1000
        assert await service.left_nothing()
        assert (await send(service, BOOKS * 50, way, dataset="books")).status_code == 202


async def send(service, content, way, *, dataset):
    if way == "raw":
        return await service.raw(content, dataset=dataset)
    headers = bearer(service.secret, "imports:write")
    parts = [("file", ("file.csv", content)), ("dataset", (None, dataset))]
    if way == "named before":
        parts.reverse()
    return await service.client.post("/api/v1/uploads", files=parts, headers=headers)


async def test_a_file_that_says_it_is_too_large_is_not_read(upload):
    """Beyond what a refused client may still be sending, and none of it into the store."""
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += len(BOOKS) * 10_000
            yield BOOKS * 10_000

    headers = bearer(upload.secret, "imports:write") | {"Content-Length": str(10**13)}
    response = await upload.raw(endless(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert sent < DRAIN_BYTES + len(BOOKS) * 20_000


@given(st.lists(st.floats(0, 30), min_size=1, max_size=40), st.integers(1, 6))
async def test_no_minute_ever_has_more_slots_than_the_limit(pauses, limit):
    """The same decision as `take_slot` makes, against the definition: any window of 60 s."""
    taken, now = [], NOW
    for pause in pauses:
        now += timedelta(seconds=pause)
        within = [each for each in taken if each > now - WINDOW]
        quota = quota_of(limit, within[0] if within else None, len(within), now)
        if quota.remaining:
            taken.append(now)
        else:
            assert quota.reset >= (within[0] + WINDOW - now).total_seconds()
    for first in taken:
        assert sum(first <= each < first + WINDOW for each in taken) <= limit


@pytest.mark.parametrize("sizes", ['{"Sales": 1}', '{"sales": 0}', "[]"])
async def test_sizes_of_what_is_no_dataset_stop_the_start(environment, database, monkeypatch, sizes):
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES_BY_DATASET", sizes)
    with pytest.raises(ValueError, match=r"(?i)dataset"):
        async with running(environment, database):
            pass


async def test_a_size_for_one_dataset_leaves_that_of_sales(environment, database, monkeypatch):
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES_BY_DATASET", '{"books": 1000}')
    async with running(environment, database) as service:
        headers = bearer(service.secret, "imports:write") | {"Content-Length": str(10 * 1024**2 + 1)}
        response = await service.raw(iter_once(), headers=headers, dataset="sales")
        assert response.json()["limit_bytes"] == 10 * 1024**2


async def iter_once():
    yield b"x"


async def test_slots_are_taken_and_given_back_in_postgresql(database_url):
    engine = engine_for(database_url, "upload", pool_size=2)
    try:
        async with engine.begin() as connection:
            slots = [(await noted.take_slot(connection, "acme", 3, WINDOW)) for _ in range(4)]
            assert [taken.count for taken in slots] == [1, 2, 3, 3]
            assert [taken.slot is None for taken in slots] == [False, False, False, True]
            assert slots[3].oldest == slots[0].slot
            await noted.release_slot(connection, "acme", slots[1].slot)
            again = await noted.take_slot(connection, "acme", 3, WINDOW)
            assert (again.slot is not None, again.count) == (True, 3)
    finally:
        await engine.dispose()
