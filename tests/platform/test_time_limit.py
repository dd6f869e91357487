"""How long an answer may take to begin; on a real server."""

import asyncio
import json

import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from tests.platform.serving import WAIT_SECONDS, served, service_of

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Heard:
    def __init__(self):
        self.ended = ""


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def door(heard):
    routes = APIRouter()

    @routes.get("/never")
    async def never():
        try:
            await asyncio.sleep(WAIT_SECONDS)
        except asyncio.CancelledError:
            heard.ended = "cancelled"
            raise

    @routes.get("/own")
    async def own():
        async with asyncio.timeout(0):
            await asyncio.sleep(WAIT_SECONDS)

    @routes.get("/live")
    async def live():
        async def events():
            for number in range(8):
                await asyncio.sleep(0.1)
                yield f"{number}\n"

        return StreamingResponse(events())

    @routes.get("/slow-stream")
    async def slow_stream():
        await asyncio.sleep(0.8)
        return "taken"

    with served(service_of(routes, streams=["/slow-stream"]), request_seconds=0.3) as door:
        yield door


def test_an_answer_that_does_not_begin_is_given_up(door, heard):
    head, _, body = door.ask(GET % b"never").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in head
    assert json.loads(body)["code"] == "response_timeout"
    assert heard.ended == "cancelled"


def test_an_answer_that_has_begun_takes_as_long_as_it_likes(door):
    assert b"7\n" in door.ask(GET % b"live")


def test_an_upload_takes_as_long_as_it_likes(door):
    assert b'"taken"' in door.ask(GET % b"slow-stream")


def test_a_timeout_of_a_service_is_none_of_ours(door):
    assert b"response_timeout" not in door.ask(GET % b"own")
