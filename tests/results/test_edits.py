"""Changing records over HTTP: results asks, a processor does it, on either transport; and what is answered if it does not."""

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from penstock.registry import build
from services.results.records import editing
from shared.contracts.events import event_from
from shared.contracts.record_edits import edit_locks
from shared.platform.database import advisory_key
from shared.platform.service import Stopping, compose
from tests.results.given import headers

BOLT = {"sku": "WBH/001", "name": "Bolt", "price": "149.90", "stock_quantity": 25}
ONE = "/products/wbh%2F001"
BOOK = {"title": "Momo", "author": "Ende", "isbn": "978-3-522-17750-4", "publication_year": 1973}
SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND datname = current_database() AND objid = ($1::bigint & 4294967295)::oid
"""


@dataclass
class Api:
    """Services in one process, and a caller who may read and write records."""

    client: httpx.AsyncClient
    secret: str
    database_url: str
    database: "asyncpg.Connection"
    stopping: Stopping

    async def __call__(self, method, path, *, tenant="acme", if_match=None, **request):
        given = headers(self.secret, tenant, "records:write", "records:read") | request.pop("headers", {})
        if if_match is not None:
            given["If-Match"] = if_match
        return await self.client.request(method, f"/api/v1/records{path}", headers=given, **request)

    async def asked(self):
        """The id of the edit that was asked for last, once its command is on the bus."""
        query = "SELECT payload FROM bus.outbox WHERE queue = 'processor.records' ORDER BY id DESC LIMIT 1"
        while (body := await self.database.fetchval(query)) is None:
            await asyncio.sleep(0.01)
        return event_from(body).data.edit_id

    async def skus(self):
        return {row["sku"] for row in await self.database.fetch("SELECT sku FROM data.products")}

    async def nothing_waits(self):
        """Wait until the processor has heard every command."""
        waiting = "SELECT count(*) FROM bus.outbox WHERE queue = 'processor.records'"
        while await self.database.fetchval(waiting):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(environment, *services):
    stopping = Stopping()
    app = compose([build(name, stopping) for name in services])
    database = await asyncpg.connect(environment["PENSTOCK_DATABASE_URL"])
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://penstock") as client:
            yield Api(
                client,
                environment["PENSTOCK_JWT_SECRET"],
                environment["PENSTOCK_DATABASE_URL"],
                database,
                stopping,
            )
    await database.close()


@pytest.fixture
async def api(environment):
    async with running(environment, "results", "processor") as api:
        yield api


@pytest.fixture
async def alone(environment):
    """Results, and no processor."""
    async with running(environment, "results") as api:
        yield api


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(editing, "ANSWER_SECONDS", 0.3)


@pytest.fixture(params=["embedded", "rabbitmq"])
def either(request, environment, monkeypatch):
    if request.param == "rabbitmq":
        monkeypatch.setenv("PENSTOCK_BUS_URL", request.getfixturevalue("rabbit_url"))
    return environment


def assert_problem(response, status, code):
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_record_from_creation_to_deletion(either):
    async with running(either, "results", "processor") as api:
        created = await api("POST", "/products", json=BOLT)
        assert created.status_code == 201, created.text
        assert created.headers["location"] == f"/api/v1/records{ONE}"
        got = await api("GET", ONE)
        assert (got.json(), got.headers["etag"]) == (created.json(), created.headers["etag"])
        changed = await api("PATCH", ONE, json={"price": 3.1}, if_match=created.headers["etag"])
        assert (changed.status_code, changed.json()["price"]) == (200, "3.1")
        stale = await api("PUT", ONE, json=BOLT, if_match=created.headers["etag"])
        assert_problem(stale, 412, "record_changed")
        assert stale.headers["etag"] == stale.json()["etag"] == changed.headers["etag"]
        replaced = await api("PUT", ONE, json={"sku": "wbh/001", "name": "Nut", "active": False})
        assert replaced.json() | {"price": None, "active": False, "sku": "wbh/001"} == replaced.json()
        assert (await api("DELETE", ONE, if_match="*")).status_code == 204
        assert_problem(await api("DELETE", ONE), 404, "record_not_found")
        await api("POST", "/books", json=BOOK)
        assert (await api("DELETE", "/books", params={"confirm": "books"})).json() == {"deleted": 1}


async def test_what_is_wrong_is_told_as_of_a_file(api):
    wrong = await api("POST", "/products", json={"name": "", "price": -1})
    assert_problem(wrong, 422, "record_invalid")
    codes = {error["field"]: error["code"] for error in wrong.json()["errors"]}
    assert codes == {"sku": "value_missing", "name": "value_missing", "price": "below_minimum"}
    await api("POST", "/products", json=BOLT)
    taken = await api("POST", "/products", json=BOLT | {"sku": "wbh/001"})
    assert_problem(taken, 409, "record_exists")
    assert taken.json()["links"]["record"] == f"/api/v1/records{ONE}"
    assert_problem(await api("PUT", ONE, json=BOLT | {"sku": "x"}), 422, "record_key_differs")


@pytest.mark.parametrize(
    "body",
    [
        {"sku": 1, "name": "x"},
        {"sku": "a", "name": "x", "stock_quantity": "1"},
        {"sku": "a", "name": "x", "stock_quantity": 1.0},
        {"sku": "a", "name": "x", "active": "true"},
        {"sku": "a", "name": "x", "price": True},
        {"sku": "a", "name": "x", "price": "cheap"},
        {"sku": "a", "name": "x", "colour": "red"},
        ["sku", "a"],
    ],
)
async def test_a_body_of_other_types_is_refused(alone, body):
    for method, path in (("POST", "/products"), ("PUT", ONE), ("PATCH", ONE)):
        assert_problem(await alone(method, path, json=body), 422, "request_invalid")


async def test_what_is_shown_may_be_put_back(api):
    created = await api("POST", "/products", json=BOLT)
    put = await api("PUT", ONE, json=created.json() | {"name": "Nut", "row_number": 5})
    assert put.status_code == 200, put.text
    assert put.json() == created.json() | {"name": "Nut", "updated_at": put.json()["updated_at"]}
    for method, path in (("POST", "/products"), ("PATCH", ONE)):
        assert_problem(
            await api(method, path, json={"sku": "a", "name": "x", "import_id": None}), 422, "request_invalid"
        )


async def test_openapi_names_the_bodies_of_edits_and_what_must_be_confirmed(alone):
    document = (await alone.client.get("/openapi.json")).json()
    one, all_of_them = "/api/v1/records/products/{record_id}", "/api/v1/records/products"

    def bodies(path, method):
        content = document["paths"][path][method]["requestBody"]["content"]
        return {media: body["schema"]["$ref"].rpartition("/")[2] for media, body in content.items()}

    assert bodies(all_of_them, "post") == {"application/json": "ProductCreate"}
    assert bodies(one, "put") == {"application/json": "ProductReplace"}
    patch = {"application/json": "ProductPatch", "application/merge-patch+json": "ProductPatch"}
    assert bodies(one, "patch") == patch
    create, replace = (document["components"]["schemas"][f"Product{kind}"] for kind in ("Create", "Replace"))
    assert create["required"] == replace["required"] == ["sku", "name"]
    assert replace["properties"]["id"]["readOnly"]
    assert set(replace["properties"]) - set(create["properties"]) == {
        *("id", "import_id", "row_number", "created_at", "updated_at")
    }
    [confirm] = document["paths"][all_of_them]["delete"]["parameters"]
    assert confirm["required"]
    assert confirm["schema"]["enum"] == ["products"]


async def test_a_dataset_that_there_is_not_is_told_whatever_is_asked_of_it(alone):
    of_all, of_one = ("GET", "POST", "DELETE"), ("GET", "PUT", "PATCH", "DELETE")
    for path, methods in (("/nope", of_all), ("/nope.csv", of_all), ("/nope/a", of_one)):
        for method in methods:
            assert_problem(await alone(method, path, json={}), 404, "dataset_not_found")
    refused = await alone("PUT", "/products", json={})
    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, POST, DELETE"
    reading = headers(alone.secret, "acme", "records:read")
    unwritten = await alone.client.post("/api/v1/records/nope", headers=reading)
    assert unwritten.status_code == 403


async def test_numbers_keep_all_their_digits(api):
    shown = []
    for sku, price in (("a", "12345678901234.5678"), ("b", "0.1000"), ("c", "1e2")):
        made = await api("POST", "/products", **as_json(f'{{"sku": "{sku}", "name": "x", "price": {price}}}'))
        shown.append(made.json()["price"])
    assert shown == ["12345678901234.5678", "0.1000", "100"]
    tiny = await api("PATCH", "/products/a", **as_json('{"price": 1e-99999999, "stock_quantity": null}'))
    assert_problem(tiny, 422, "record_invalid")
    huge = await api("PATCH", "/products/a", **as_json(f'{{"stock_quantity": {"9" * 5000}}}'))
    assert_problem(huge, 422, "request_invalid")


def as_json(body):
    return {"content": body, "headers": {"Content-Type": "application/json"}}


async def test_what_cannot_be_asked_for_at_all(alone):
    for params in ({}, {"confirm": "books"}, {"confirm": ""}):
        assert_problem(await alone("DELETE", "/products", params=params), 422, "confirmation_missing")
    for wrong in ("1", "W/1", '"a" "b"', ""):
        assert_problem(await alone("DELETE", ONE, if_match=wrong), 422, "if_match_invalid")
    for method, path in (
        ("POST", "/sales"),
        ("DELETE", "/sales"),
        ("PUT", "/sales/a"),
        ("PATCH", "/parts/a/b"),
    ):
        refused = await alone(method, path, json={})
        assert_problem(refused, 405, "dataset_not_editable")
        assert refused.headers["allow"] == "GET"
    assert_problem(await alone("POST", "/products.csv", json={}), 405, "method_not_allowed")


# When the processor does not answer.


async def test_without_a_processor_nothing_is_done_also_when_it_is_back(either, impatient):
    async with running(either, "results") as alone:
        assert_problem(refused := await alone("POST", "/products", json=BOLT), 503, "processor_unavailable")
        assert refused.headers["retry-after"] == "5"
    async with running(either, "results", "processor") as api:
        await api.nothing_waits()
        assert (await api("POST", "/products", json=BOLT)).status_code in {201, 503}
        await asyncio.sleep(0.3)
        kept = await api.database.fetch("SELECT action FROM processor.edits")
        assert len(kept) == len(await api.skus()) <= 1


async def test_more_edits_than_there_are_places_for_are_told_so(alone, impatient, monkeypatch):
    """One tenant's share is full, and another has the rest."""
    monkeypatch.setattr(editing, "IN_LINE_SECONDS", 0.05)
    tenants = ["acme"] * (editing.SHARE + 2) + ["other"] * (editing.PLACES - editing.SHARE + 1)
    many = [alone("POST", "/products", json=BOLT, tenant=tenant) for tenant in tenants]
    answers = await asyncio.gather(*many)
    found = Counter((tenant, answer.json()["code"]) for tenant, answer in zip(tenants, answers, strict=True))
    assert found == {
        ("acme", "edits_busy"): 2,
        ("acme", "processor_unavailable"): editing.SHARE,
        ("other", "edits_busy"): 1,
        ("other", "processor_unavailable"): editing.PLACES - editing.SHARE,
    }


async def test_who_stops_tells_what_became_of_it_first(alone):
    asking = asyncio.create_task(alone("POST", "/products", json=BOLT))
    await alone.asked()
    alone.stopping.set()
    assert_problem(await asking, 503, "processor_unavailable")


async def test_who_stops_hears_the_reply_that_comes_a_moment_later(api, monkeypatch):
    monkeypatch.setattr(editing, "LEAVING_SECONDS", 30)
    await api("POST", "/products", json=BOLT)
    async with asyncpg_transaction(api) as other:
        await other.execute("SELECT FROM data.products FOR UPDATE")
        asking = asyncio.create_task(api("PATCH", ONE, json={"name": "in time"}))
        await api.asked()
        api.stopping.set()
        await asyncio.sleep(3 * editing.LOOK_SECONDS)
    assert (await asking).status_code == 200


async def test_a_reply_that_nobody_was_woken_for_is_found(api, monkeypatch):
    async def deaf(*_):
        pass

    monkeypatch.setattr(editing.Edits, "hear", deaf)
    assert (await api("POST", "/products", json=BOLT)).status_code == 201


# Exactness: what is answered is what was done, whenever who asks loses patience, its session, or both.


@pytest.mark.parametrize("lost", ["time", "session", "every session"])
async def test_an_edit_that_is_late_is_undone(api, impatient, lost):
    """The processor waits for the row until the answer has been given."""
    await api("POST", "/products", json=BOLT)
    async with asyncpg_transaction(api) as other:
        await other.execute("SELECT FROM data.products FOR UPDATE")
        asking = asyncio.create_task(api("PATCH", ONE, json={"name": "late"}))
        edit_id = await api.asked()
        if lost == "session":
            await other.execute(SESSIONS, advisory_key(edit_locks(edit_id).asked))
        if lost == "every session":
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'penstock-results'"
            )
        assert_problem(await asking, 503, "processor_unavailable")
    await api.nothing_waits()
    assert (await api("GET", ONE)).json()["name"] == "Bolt"
    assert await api.database.fetchval("SELECT count(*) FROM processor.edits") == 1


async def test_if_the_edit_may_still_be_done_that_is_told(alone, impatient, monkeypatch):
    """Its session is lost, and the server has not noticed: as somebody else holds the lock."""
    monkeypatch.setattr(editing, "SETTLE_ANEW_SECONDS", 0.5)
    other = await asyncpg.connect(alone.database_url)
    asking = asyncio.create_task(alone("POST", "/products", json=BOLT))
    key = advisory_key(edit_locks(await alone.asked()).asked)
    holding = asyncio.create_task(other.execute("SELECT pg_advisory_lock($1)", key))
    await asyncio.sleep(0.05)
    await alone.database.execute(SESSIONS, key)
    assert_problem(await asking, 504, "edit_unknown")
    await holding
    await other.close()


async def test_what_is_answered_is_what_was_done(api, monkeypatch):
    """Many edits, whose askers lose patience at about the moment when the processor commits."""
    chance = random.Random(5)
    answers = {}
    patience = 0.2  # seconds; what it takes to commit differs much from machine to machine

    async def ask(number):
        monkeypatch.setattr(editing, "ANSWER_SECONDS", chance.uniform(0, patience))
        answer = await api("POST", "/products", json={"sku": f"s{number}", "name": "x"})
        answers[f"s{number}"] = answer.json().get("code", "done")

    for start in range(0, 96, 8):
        numbers = range(start, start + 8)
        await asyncio.gather(*map(ask, numbers))
        done = sum(answers[f"s{number}"] == "done" for number in numbers)
        patience *= 0.6 if done > 4 else 1.5 if done < 4 else 1
    await api.nothing_waits()
    await asyncio.sleep(0.2)  # what is in hand still
    assert {sku for sku, said in answers.items() if said == "done"} == await api.skus()
    assert set(answers.values()) == {"done", "processor_unavailable"}


@asynccontextmanager
async def asyncpg_transaction(api):
    """A transaction of somebody else, rolled back at the end."""
    other = await asyncpg.connect(api.database_url)
    transaction = other.transaction()
    await transaction.start()
    yield other
    await transaction.rollback()
    await other.close()
