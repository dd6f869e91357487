"""A development gateway: one address for services that run as processes of their own. Routes by prefix alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from shared.contracts.problems import CONTENT_TYPE, NotFound, Problem, Unavailable
from shared.contracts.routes import service_for

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CHECK_SECONDS = 6.0  # a service gives its own checks 4 s
# RFC 9110, section 7.6.1; and 100-continue, which this hop has answered itself.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade expect".split()
)

Headers = list[tuple[bytes, bytes]]


def gateway(
    upstreams: Mapping[str, str], during: Callable[[], AbstractAsyncContextManager[None]]
) -> Starlette:
    """An ASGI application in front of `upstreams` (service name → base URL), with `during` entered while it serves."""
    # No timeout once connected: live progress is silent for as long as it likes.
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=5.0), limits=httpx.Limits(max_connections=None), trust_env=False
    )
    door = Gateway(upstreams, client)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client, during():
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/docs", door.docs),
            # The page must work where no CDN can be reached.
            Mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")])),
            Route("/openapi.json", door.openapi),
            Route("/health/live", door.live),
            Route("/health/ready", door.ready),
            Route("/health/{service}/{question}", door.health_of),
            Route("/{path:path}", door.forward, methods=METHODS),
        ],
    )


class Gateway:
    """The endpoints."""

    def __init__(self, upstreams: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._upstreams = upstreams
        self._client = client

    async def forward(self, request: Request) -> Response:
        """Pass the request to the service that owns its path, and the answer back, both as they flow."""
        service = owner_of(request.url.path)
        if service is None:
            return _answer(NotFound("not_found", f"no service answers {request.url.path}"))
        try:
            answer = await self._client.send(self._request_to(service, request), stream=True)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except httpx.TransportError as error:
            return _away(service, error)
        response = StreamingResponse(_body(answer), status_code=answer.status_code)
        response.raw_headers = _end_to_end(answer.headers.raw)
        return response

    async def docs(self, _: Request) -> Response:
        """The API of all services on one page."""
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Penstock",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )

    async def openapi(self, _: Request) -> Response:
        """The OpenAPI descriptions of all services as one."""
        try:
            answers = await asyncio.gather(
                *(self._client.get(f"{url}/openapi.json") for url in self._upstreams.values())
            )
        except httpx.TransportError as error:
            return _away("one of the services", error)
        return JSONResponse(
            merged({name: answer.json() for name, answer in zip(self._upstreams, answers, strict=True)})
        )

    async def live(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Whether every service can work now, in the form each service says it of itself."""
        found = await asyncio.gather(*(self._readiness(name) for name in self._upstreams))
        services = {name: checks for report in found for name, checks in report.items()}
        good = all(check["ok"] for checks in services.values() for check in checks)
        document = {"status": "ok" if good else "unavailable", "services": services}
        return JSONResponse(document, status_code=200 if good else 503)

    async def health_of(self, request: Request) -> Response:
        """What one service says of itself."""
        service, path = request.path_params["service"], request.url.path
        if service not in self._upstreams:
            return _answer(NotFound("not_found", f"no service answers {path}"))
        try:
            answer = await self._client.get(self._upstreams[service] + path, timeout=CHECK_SECONDS)
        except httpx.TransportError as error:
            return _away(service, error)
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    async def _readiness(self, name: str) -> dict[str, Any]:
        try:
            answer = await self._client.get(f"{self._upstreams[name]}/health/ready", timeout=CHECK_SECONDS)
            report: dict[str, Any] = answer.json()["services"]
        except (httpx.TransportError, ValueError, KeyError) as error:
            return {name: [{"name": "process", "ok": False, "detail": type(error).__name__}]}
        return report

    def _request_to(self, service: str, request: Request) -> httpx.Request:
        raw_path, query = request.scope["raw_path"], request.scope["query_string"]
        target = raw_path + b"?" + query if query else raw_path
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        return httpx.Request(
            request.method,
            httpx.URL(self._upstreams[service]).copy_with(raw_path=target),
            headers=_end_to_end(request.headers.raw),
            content=request.stream() if has_body else None,
            extensions={"timeout": self._client.timeout.as_dict()},
        )


def owner_of(path: str) -> str | None:
    """The service that answers `path`: results, where it is none of the API's, as the console's pages are.

    A process's figures are for those who reach the process itself.
    """
    if path == "/metrics":
        return None
    return service_for(path) if path.startswith("/api/") else "results"


def merged(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One OpenAPI document of several. A schema whose name means something else elsewhere gets its service's name."""
    paths: dict[str, Any] = {}
    components: dict[str, dict[str, Any]] = {}
    for service, document in documents.items():
        own = _with_unique_schemas(service, document, components.get("schemas", {}))
        paths = own.get("paths", {}) | paths
        for kind, members in own.get("components", {}).items():
            components.setdefault(kind, {}).update(members)
    info = {"title": "Penstock", "version": next(iter(documents.values()))["info"]["version"]}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _with_unique_schemas(service: str, document: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    schemas = document.get("components", {}).get("schemas", {})
    renamed = {
        name: f"{name}_{service}" for name, schema in schemas.items() if taken.get(name, schema) != schema
    }
    text = json.dumps(document)
    for old, new in renamed.items():
        text = text.replace(f'"#/components/schemas/{old}"', f'"#/components/schemas/{new}"')
    own: dict[str, Any] = json.loads(text)
    if renamed:
        members = own["components"]["schemas"].items()
        own["components"]["schemas"] = {renamed.get(name, name): schema for name, schema in members}
    return own


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.TransportError:
        # A live stream may end at any time, and its readers come again; anything else must not look complete.
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise
    finally:
        await answer.aclose()


def _end_to_end(headers: Headers) -> Headers:
    return [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]


def _away(service: str, error: Exception) -> Response:
    detail = f"{service} does not answer at present ({type(error).__name__})"
    return _answer(Unavailable("service_unavailable", detail, retry_after=2))


def _answer(problem: Problem) -> Response:
    return JSONResponse(
        problem.document(), problem.status, headers=dict(problem.headers()), media_type=CONTENT_TYPE
    )
