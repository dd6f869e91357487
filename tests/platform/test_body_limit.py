"""No body is read for somebody who may not send it, beyond a limit."""

from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel

from shared.platform.body_limit import BODY_LIMIT_BYTES
from shared.platform.service import Service, compose


class Note(BaseModel):
    text: str


@asynccontextmanager
async def lifespan():
    yield


async def checks():
    return []


@pytest.fixture
async def client():
    routes = APIRouter()

    @routes.post("/notes")
    async def note(body: Note) -> int:
        return len(body.text)

    @routes.post("/files")
    async def file(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    app = compose([Service("a", lifespan, checks, routes, streams=frozenset({"/files"}))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as made:
        yield made


async def chunks(count: int):
    for _ in range(count):
        yield b" " * 65536


async def test_a_declared_length_above_the_limit_is_refused(client):
    response = await client.post("/notes", content=b" " * (BODY_LIMIT_BYTES + 1))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_undeclared_length_is_counted(client):
    response = await client.post("/notes", content=chunks(17), headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_what_is_below_the_limit_goes_through(client):
    assert (await client.post("/notes", json={"text": "x" * 1_000_000})).json() == 1_000_000


async def test_a_streamed_path_has_no_limit(client):
    assert (await client.post("/files", content=chunks(40))).json() == 40 * 65536
