"""The table of routes, and the gateway's page of all APIs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import httpx
import pytest
from fastapi import APIRouter, Request, Response

from penstock.gateway import gateway, merged, owner_of
from penstock.registry import NAMES, build
from shared.contracts.routes import ROUTES, service_for
from shared.platform.health import Check
from shared.platform.service import Service, Stopping, compose
from tests.platform.serving import served, service_of


@asynccontextmanager
async def asked(upstreams: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, which serves as long as the block."""
    app = gateway(upstreams, nullcontext)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1/uploads", "upload"),
        ("/api/v1/imports/0199d2a6/events", "results"),
        ("/api/v1/investigation-events/batch", "notifier"),
        ("/api/v1/investigations/7/resolve", "notifier"),
        ("/api/v1/imports-old", None),
        ("/api/v1", None),
        ("/", None),
    ],
)
def test_a_prefix_is_whole_segments(path: str, service: str | None) -> None:
    assert service_for(path) == service


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "results"),
        ("/assets/1a2b/start.js", "results"),
        ("/imports", "results"),
        ("/webhooks/7", "results"),
        ("/sign-in", "results"),
        ("/apis", "results"),
        ("/api/v1/session", "results"),
        ("/metrics", None),
        ("/api/v1/webhooks", "notifier"),
        ("/api/v1/nothing", None),
        ("/api/v2/imports", None),
        ("/api/", None),
    ],
)
def test_what_is_not_of_the_api_is_the_consoles(path: str, service: str | None) -> None:
    assert owner_of(path) == service


async def test_host_and_cookies_pass_as_they_are() -> None:
    """Sessions depend on them: a page is our own if its origin has the host that was asked."""
    routes = APIRouter()

    @routes.get("/sign-in")
    async def told(request: Request) -> Response:
        response = Response(f"{request.headers['host']} {request.headers['cookie']}")
        response.set_cookie("a", "1", httponly=True, samesite="strict")
        response.set_cookie("b", "2", max_age=0)
        return response

    with served(service_of(routes)) as results:
        async with asked({"results": results.url}) as client:
            answer = await client.get("/sign-in", headers={"Cookie": "penstock_session=pss_x; theme=dark"})
    assert answer.text == "gateway penstock_session=pss_x; theme=dark"
    first, second = answer.headers.get_list("set-cookie")
    assert first == "a=1; HttpOnly; Path=/; SameSite=strict"
    assert second.startswith("b=2;")


def test_no_prefix_hides_another() -> None:
    assert all(service_for(prefix) == service for prefix, service in ROUTES.items())


async def test_every_route_of_a_service_is_in_the_table(environment: dict[str, str]) -> None:
    for name in NAMES:
        paths = compose([build(name, Stopping())]).openapi()["paths"]
        owners = {path: service_for(path) for path in paths if not path.startswith("/health/")}
        assert set(owners.values()) <= {name}, owners


def test_schemas_of_one_name_and_two_meanings_are_told_apart() -> None:
    def document(path: str, schema: dict[str, str]) -> dict[str, object]:
        answer = {"$ref": "#/components/schemas/Page"}
        return {
            "info": {"version": "1"},
            "paths": {path: {"get": answer}},
            "components": {"schemas": {"Page": schema, "Same": {"type": "null"}}},
        }

    one = merged({"a": document("/a", {"type": "object"}), "b": document("/b", {"type": "array"})})

    schemas = one["components"]["schemas"]
    assert schemas.keys() == {"Page", "Page_b", "Same"}
    assert one["paths"]["/a"]["get"]["$ref"] == "#/components/schemas/Page"
    assert one["paths"]["/b"]["get"]["$ref"] == "#/components/schemas/Page_b"
    assert schemas["Page_b"] == {"type": "array"}


async def test_the_page_of_all_apis_needs_nothing_from_elsewhere() -> None:
    async with asked({}) as client:
        page = (await client.get("/docs")).text
        wanted = re.findall(r"(?:href|src)=\"([^\"]+)\"", page)
        assert len(wanted) == 3, page
        for path in wanted:
            assert path.startswith("/docs/assets/")
            assert (await client.get(path)).status_code == 200


async def test_each_service_is_asked_through_the_gateway_how_it_is() -> None:
    def service(name: str, *, ok: bool) -> Service:
        async def checks() -> list[Check]:
            return [Check("work", ok=ok)]

        return Service(name, nullcontext, checks)

    with served(service("upload", ok=True)) as well, served(service("processor", ok=False)) as ill:
        upstreams = {"upload": well.url, "processor": ill.url, "results": "http://127.0.0.1:1"}
        async with asked(upstreams) as client:
            found = {name: await client.get(f"/health/{name}/ready") for name in upstreams}
            assert [answer.status_code for answer in found.values()] == [200, 503, 503]
            assert found["upload"].json()["services"].keys() == {"upload"}
            assert found["processor"].json()["services"]["processor"][0]["ok"] is False
            assert found["results"].json()["code"] == "service_unavailable"
            assert (await client.get("/health/processor/live")).json() == {"status": "ok"}
            for nothing in ("/health/notifier/live", "/health/upload/well", "/metrics", "/%6detrics"):
                answer = await client.get(nothing)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), nothing
