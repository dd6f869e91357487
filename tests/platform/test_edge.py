"""What every response has, and what every error looks like."""

import asyncio
import json
import re

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from starlette.requests import ClientDisconnect

from shared.contracts.problems import Conflict, Unavailable
from shared.platform.database import engine_for
from shared.platform.edge import add_edge
from shared.platform.logs import current_traceparent
from shared.platform.settings import ProcessSettings

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
SECRET = "the password is swordfish"


def routes(app, engine):
    @app.delete("/trace")
    @app.get("/trace")
    async def trace():
        return current_traceparent()

    @app.get("/number")
    async def number(of: int = Query(ge=1)):
        return of

    @app.get("/conflict")
    async def conflict():
        raise Conflict("taken", "somebody has it", hint="ask for another", holder="you")

    @app.get("/away")
    async def away():
        raise Unavailable("store_unavailable", "the store is away", retry_after=7)

    @app.get("/crash")
    async def crash():
        swordfish = SECRET
        raise RuntimeError(swordfish)

    @app.get("/gone")
    async def gone():
        raise ClientDisconnect

    @app.get("/half")
    async def half():
        async def body():
            yield b"first"
            raise RuntimeError(SECRET)

        return StreamingResponse(body())

    @app.get("/sql")
    async def sql(statement: str):
        async with engine.connect() as connection:
            await connection.execute(text(statement))


def client_of(engine=None, **options):
    app = FastAPI()
    routes(app, engine)
    add_edge(app, ProcessSettings())
    transport = httpx.ASGITransport(app, **options)
    return httpx.AsyncClient(transport=transport, base_url="http://edge")


@pytest.fixture
async def client():
    async with client_of() as client:
        yield client


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "upload", pool_size=1)
    yield engine
    await engine.dispose()


def assert_problem(response, status, code):
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"urn:penstock:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert "swordfish" not in response.text
    assert "Traceback" not in response.text


async def test_nothing_there_is_a_problem_document(client):
    assert_problem(await client.get("/nowhere"), 404, "not_found")


async def test_a_wrong_method_is_a_problem_document_and_names_the_right_one(client):
    response = await client.post("/trace")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, DELETE"  # of all routes with this path


@pytest.mark.parametrize("query", ["", "?of=x", "?of=0"])
async def test_wrong_input_is_a_problem_document_that_names_the_field(client, query):
    response = await client.get(f"/number{query}")
    assert_problem(response, 422, "request_invalid")
    assert [fault["field"] for fault in response.json()["errors"]] == ["query.of"]


async def test_a_problem_goes_out_with_its_hint_and_more(client):
    response = await client.get("/conflict")
    assert_problem(response, 409, "taken")
    assert (response.json()["hint"], response.json()["holder"]) == ("ask for another", "you")


async def test_what_is_away_says_when_to_come_again(client):
    response = await client.get("/away")
    assert_problem(response, 503, "store_unavailable")
    assert response.headers["retry-after"] == "7"


async def test_a_crash_tells_nothing_but_the_id_to_find_it_by_in_the_log(client, configure, capsys):
    configure(level="info", style="json")
    response = await client.get("/crash", headers={"traceparent": TRACEPARENT})
    assert_problem(response, 500, "internal_error")
    assert response.headers["x-request-id"] == TRACE_ID
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["trace_id"], line["path"]) == ("request.crashed", TRACE_ID, "/crash")
    assert SECRET in line["exception"]


async def test_a_response_that_breaks_in_the_middle_is_cut_off(client):
    """What was sent cannot be taken back: the server must end the connection, and is told so by the error."""
    with pytest.raises(RuntimeError):
        await client.get("/half")


async def test_a_client_that_has_gone_is_no_crash(client, configure, capsys):
    configure(level="info", style="json")
    with pytest.raises(AssertionError):  # the transport's: there is no response
        await client.get("/gone")
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["level"]) == ("request.abandoned", "info")


async def test_a_trace_is_gone_on_with_by_a_span_of_its_own(client):
    response = await client.get("/trace", headers={"traceparent": TRACEPARENT})
    version, trace_id, parent, flags = TRACEPARENT.split("-")
    assert response.headers["x-request-id"] == trace_id == TRACE_ID
    here = response.json().split("-")
    assert (here[0], here[1], here[3]) == (version, trace_id, flags)
    assert here[2] != parent


async def test_each_request_without_one_gets_its_own(client):
    responses = [await client.get("/trace") for _ in range(2)]
    assert len({response.headers["x-request-id"] for response in responses}) == 2
    for response in responses:
        assert response.json().split("-")[1] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "traceparent",
    [
        "nonsense",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-b7ad6b7169203331-01",
        f"00-{TRACE_ID.upper()}-b7ad6b7169203331-01",
        f"00-{'x' * 32}-b7ad6b7169203331-01",
        f"00-{'é' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-b7ad6b7169203331",
        f"{TRACEPARENT}-{'x' * 5000}",
    ],
)
async def test_a_traceparent_that_is_none_begins_a_new_trace(client, traceparent):
    response = await client.get("/trace", headers={"traceparent": traceparent.encode()})
    assert response.json() != traceparent
    assert response.json().split("-")[1] == response.headers["x-request-id"] != TRACE_ID


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1:1/d",  # nobody listens
        "postgresql://u@/d?host=/nonexistent",  # no socket
        "postgresql://u@name.invalid/d",  # no such name
    ],
)
async def test_a_database_that_is_away_is_said_to_be(url):
    engine = engine_for(url, "upload", pool_size=1)
    async with client_of(engine) as client:
        response = await client.get("/sql", params={"statement": "SELECT 1"})
    assert_problem(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    await engine.dispose()


@pytest.mark.parametrize("state", ["57P01", "57P03", "53300", "08006"])
async def test_a_database_that_comes_up_goes_down_or_is_full_is_away(engine, state):
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'swordfish' USING ERRCODE = '{state}'; END $$"
    async with client_of(engine) as client:
        assert_problem(await client.get("/sql", params={"statement": statement}), 503, "database_unavailable")


async def end_session(database_url, statement):
    """End the session that runs `statement`."""
    admin = await asyncpg.connect(database_url)
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = $1"
    while not await admin.fetchval(query, statement):
        await asyncio.sleep(0.01)
    await admin.close()


async def test_a_session_ended_by_the_server_is_a_database_away_and_the_next_request_works(
    engine, database_url
):
    statement = "SELECT pg_sleep(20)"
    async with client_of(engine) as client:
        asked = asyncio.create_task(client.get("/sql", params={"statement": statement}))
        await end_session(database_url, statement)
        assert_problem(await asked, 503, "database_unavailable")
        assert (await client.get("/sql", params={"statement": "SELECT 1"})).status_code == 200


@pytest.mark.parametrize("statement", ["SELECT swordfish", "SELECT 1 / 0", "SELECT * FROM processor.imports"])
async def test_a_statement_that_is_wrong_is_our_crash(engine, statement, configure):
    configure(level="critical", style="json")
    async with client_of(engine) as client:
        assert_problem(await client.get("/sql", params={"statement": statement}), 500, "internal_error")
