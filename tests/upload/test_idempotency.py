"""The same request sent twice is one import."""

import asyncio
import gzip
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.idempotency import fingerprint_of, key_in
from shared.contracts.problems import Problem
from tests.upload.conftest import BOOKS, bearer, running

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


def keyed(service, key=KEY, **claims):
    return bearer(service.secret, "imports:write", **claims) | {"Idempotency-Key": key}


@pytest.mark.parametrize(
    ("values", "key"),
    [([], None), (["abc"], "abc"), (['"abc"'], "abc"), ([r'"a\"b\\c"'], r'a"b\c'), (["x" * 255], "x" * 255)],
)
def test_a_key_may_be_quoted(values, key):
    assert key_in(values) == key


@pytest.mark.parametrize("values", [[""], ['""'], ["x" * 256], ["ä"], ["a", "b"], ["a\tb"]])
def test_what_is_no_key_is_refused(values):
    with pytest.raises(Problem) as caught:
        key_in(values)
    assert caught.value.code == "idempotency_key_invalid"


@given(st.dictionaries(st.text(), st.text()), st.text(), st.text())
def test_a_fingerprint_tells_requests_apart_whatever_the_order_of_fields(fields, name, other):
    reversed_fields = dict(reversed(fields.items()))
    assert fingerprint_of("0", name, fields) == fingerprint_of("0", name, reversed_fields)
    if other != name:
        assert fingerprint_of("0", name, fields) != fingerprint_of("0", other, fields)
    assert fingerprint_of("0", name, fields) != fingerprint_of(
        "0", name, fields | {"n" + "".join(fields): ""}
    )


async def test_the_same_request_has_the_same_answer_and_is_done_once(upload):
    first = await upload.form(headers=keyed(upload))
    again = await upload.form(headers=keyed(upload, f'"{KEY}"'))
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(await upload.rows()) == len(await upload.events()) == len(upload.objects()) == 1


async def test_a_repetition_does_not_count_towards_the_limit(environment, database, monkeypatch):
    monkeypatch.setenv("PENSTOCK_UPLOADS_PER_MINUTE", "1")
    async with running(environment, database) as upload:
        for _ in range(3):
            assert (await upload.form(headers=keyed(upload))).status_code == 202


async def test_a_packed_file_is_the_same_file(upload):
    first = await upload.raw(headers=keyed(upload))
    again = await upload.raw(gzip.compress(BOOKS), headers=keyed(upload))
    assert again.json() == first.json()


@pytest.mark.parametrize(
    "other",
    [
        {"content": BOOKS + b"More,Ende,,1980\n"},
        {"name": "other.csv"},
        {"dataset": "products"},
        {"dry_run": "true"},
    ],
)
async def test_another_request_with_the_same_key_is_refused(upload, other):
    await upload.form(headers=keyed(upload))
    response = await upload.form(headers=keyed(upload), **other)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await upload.rows()) == len(upload.objects()) == 1


async def test_a_refused_request_leaves_its_key_free(upload):
    assert (await upload.form(b"no,columns\n", headers=keyed(upload))).status_code == 422
    assert (await upload.form(headers=keyed(upload))).status_code == 202


async def test_tenants_do_not_share_keys(upload):
    ids = {
        (await upload.form(headers=keyed(upload, tenant=tenant))).json()["id"] for tenant in ("acme", "other")
    }
    assert len(ids) == 2


async def test_while_the_first_is_under_way_the_second_is_told(upload):
    go_on = asyncio.Event()

    async def slowly():
        yield BOOKS[:20]
        await go_on.wait()
        yield BOOKS[20:]

    first = asyncio.create_task(upload.raw(slowly(), headers=keyed(upload)))
    async with asyncio.timeout(10):
        while not upload.objects() and not await upload.database.fetchval(
            "SELECT count(*) FROM upload.idempotency_keys"
        ):
            await asyncio.sleep(0.01)
    second = await upload.raw(headers=keyed(upload))
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_progress")
    go_on.set()
    assert (await first).status_code == 202
    assert (await upload.raw(headers=keyed(upload))).json() == (await first).json()


async def test_many_at_once_with_one_key_are_one_import(environment, database):
    async with running(environment, database) as one, running(environment, database) as two:
        responses = await asyncio.gather(
            *((one, two)[number % 2].form(headers=keyed(one)) for number in range(20))
        )
        assert {response.status_code for response in responses} <= {202, 409}
        ids = {response.json()["id"] for response in responses if response.status_code == 202}
        assert len(ids) == len(await one.rows()) == len(one.objects()) == 1


async def test_the_key_of_a_dead_process_is_free(upload, database):
    await database.execute(
        "INSERT INTO upload.idempotency_keys (tenant, key, import_id, owner, expires_at)"
        " VALUES ('acme', $1, $2, 12345, now() + interval '1 day')",
        KEY,
        uuid.uuid4(),
    )
    assert (await upload.form(headers=keyed(upload))).status_code == 202


async def test_a_key_is_kept_for_a_day(upload, database):
    first = await upload.form(headers=keyed(upload))
    hours = "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM upload.idempotency_keys"
    assert 23.9 < float(await database.fetchval(hours)) <= 24
    await database.execute("UPDATE upload.idempotency_keys SET expires_at = now()")
    second = await upload.form(headers=keyed(upload), force="true")
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]
