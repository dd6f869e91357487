"""Security headers and CORS, on every response whoever made it."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from fastapi import APIRouter, Response
from pydantic import ValidationError

from shared.contracts.problems import Conflict
from shared.platform.service import compose
from shared.platform.settings import ProcessSettings
from tests.platform.serving import served, service_of

PAGE = "https://console.example"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def routes():
    routes = APIRouter()

    @routes.get("/api/v1/fine")
    async def fine():
        return "fine"

    @routes.get("/api/v1/own")
    async def own(response: Response):
        response.headers["Cache-Control"] = "max-age=60"
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return "own"

    @routes.get("/api/v1/taken")
    async def taken():
        raise Conflict("taken", "somebody has it")

    @routes.get("/api/v1/crash")
    async def crash():
        raise RuntimeError

    @routes.post("/api/v1/notes")
    async def note(body: dict[str, str]):
        return body

    return routes


def client_of(base="http://test", **settings):
    app = compose([service_of(routes())], ProcessSettings(**settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


REQUESTS = [
    ("GET", "/api/v1/fine", b"", 200),
    ("GET", "/api/v1/taken", b"", 409),
    ("GET", "/api/v1/crash", b"", 500),
    ("GET", "/nowhere", b"", 404),
    ("DELETE", "/api/v1/fine", b"", 405),
    ("POST", "/api/v1/notes", b"no JSON", 422),
    ("POST", "/api/v1/notes", b" " * 2**21, 413),
    ("GET", "/health/live", b"", 200),
    ("GET", "/openapi.json", b"", 200),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REQUESTS)
@pytest.mark.parametrize("origins", [(), (PAGE,)], ids=["same origin", "CORS"])
async def test_every_response_has_them(method, path, body, status, origins):
    async with client_of(cors_origins=origins) as client:
        response = await client.request(
            method, path, content=body, headers={"content-type": "application/json", "origin": PAGE}
        )
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in ALWAYS} == ALWAYS
    assert "camera=()" in response.headers["permissions-policy"]
    assert response.headers.get("access-control-allow-origin") == (PAGE if origins else None)
    assert ("x-request-id" in response.headers.get("access-control-expose-headers", "").lower()) == bool(
        origins
    )


async def test_what_a_route_says_itself_stays():
    async with client_of() as client:
        response = await client.get("/api/v1/own")
    assert response.headers.get_list("cache-control") == ["max-age=60"]
    assert response.headers.get_list("content-security-policy") == ["default-src 'self'"]


async def test_https_is_asked_for_where_it_is_there_already():
    async with client_of() as plain, client_of("https://test") as secure:
        assert "strict-transport-security" not in (await plain.get("/api/v1/fine")).headers
        assert (await secure.get("/api/v1/fine")).headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("proxies", "believed"),
    [([], False), (["10.0.0.0/8"], False), (["127.0.0.1"], True), (["127.0.0.0/8"], True), (["*"], True)],
)
def test_a_proxy_is_believed_only_if_it_is_named(proxies, believed):
    with served(service_of(routes()), trusted_proxies=proxies) as door:
        response = httpx.get(f"{door.url}/api/v1/fine", headers={"X-Forwarded-Proto": "https"})
    assert ("strict-transport-security" in response.headers) == believed


async def test_the_page_of_the_docs_runs_its_own_scripts_and_no_others():
    """That it works in a browser was tried by hand; this holds what it needs for it."""
    async with client_of() as client:
        page = await client.get("/docs")
        policy = dict(
            part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";")
        )
        [script] = re.findall("<script>(.*?)</script>", page.text, re.DOTALL)
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert policy["script-src"] == f"'self' 'sha256-{digest}'"
        assert policy["frame-ancestors"] == policy["default-src"] == "'none'"
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) == 3
        for address in addresses:
            asset = await client.get(address)
            assert (asset.status_code, address[0]) == (200, "/")
            assert "cache-control" not in asset.headers
    assert "https://" not in page.text


async def test_a_page_of_another_origin_may_ask_and_read():
    headers = {
        "origin": PAGE,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization, content-type, tus-resumable, upload-offset, upload-checksum",
    }
    async with client_of(cors_origins=PAGE) as client:
        asked = await client.options("/api/v1/fine", headers=headers)
        elsewhere = await client.options("/api/v1/fine", headers=headers | {"origin": "https://evil.example"})
        read = await client.get("/api/v1/fine", headers={"origin": PAGE})
        foreign = await client.get("/api/v1/fine", headers={"origin": "https://evil.example"})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert asked.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in elsewhere.headers
    assert "access-control-allow-origin" not in foreign.headers
    assert "access-control-allow-credentials" not in read.headers
    exposed = set(read.headers["access-control-expose-headers"].lower().split(", "))
    assert {"location", "retry-after", "upload-offset", "tus-resumable", "idempotency-replayed"} <= exposed


async def test_without_cors_a_page_of_another_origin_hears_nothing():
    async with client_of() as client:
        headers = {"origin": PAGE, "access-control-request-method": "POST"}
        responses = [await client.options("/api/v1/notes", headers=headers), await client.get("/api/v1/fine")]
    assert not [
        name for response in responses for name in response.headers if name.startswith("access-control")
    ]


@pytest.mark.parametrize("value", [f"{PAGE},http://localhost:5173", f" {PAGE} , http://localhost:5173,"])
def test_origins_are_separated_by_commas(value, monkeypatch):
    monkeypatch.setenv("PENSTOCK_CORS_ORIGINS", value)
    assert list(ProcessSettings().cors_origins) == [PAGE, "http://localhost:5173"]


@pytest.mark.parametrize(
    "value",
    ["*", f"{PAGE},*", "null", "console.example", f"{PAGE}/", f"{PAGE}/app", "https://*.example", "ftp://a.example",
     "https://Console.example", "https://user@a.example", "https://a.example:port", "https://a.example https://b.example"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(value, monkeypatch):
    monkeypatch.setenv("PENSTOCK_CORS_ORIGINS", value)
    with pytest.raises(ValidationError, match=r"is not taken|is not an origin"):
        ProcessSettings()
