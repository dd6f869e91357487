"""HTTP: resumable uploads by tus 1.0 at `/api/v1/tus`. All of it goes by the protocol but `GET`, which is ours."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from services.upload.tus import describing
from services.upload.tus.protocol import VERSION, effective_method
from services.upload.tus.requests import Requests
from services.upload.tus.resources import PATH, ResumableUpload, resource_of, server_headers
from shared.platform.auth import Authenticator, Principal


class TusRoute(APIRoute):
    """A route of tus: every answer says the version; `X-HTTP-Method-Override` counts more than the method."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        method = effective_method(scope["method"], Headers(scope=scope))
        match, child_scope = super().matches({**scope, "method": method})
        return match, {**child_scope, "method": method} if match == Match.FULL else child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await super().handle(scope, receive, send_with_version)


def tus_router(requests: Requests, auth: Authenticator, *, max_bytes: int) -> APIRouter:
    """The routes of resumable uploads. `max_bytes`: what a tenant without a limit of its own may send."""
    routes = APIRouter(prefix=PATH, tags=["resumable uploads"], route_class=TusRoute)
    writer = Depends(auth.require("imports:write"))

    @routes.options("/{upload_id}", status_code=204, include_in_schema=False)
    @routes.options("", status_code=204, summary="What resumable uploads can do", **describing.OPTIONS)
    async def options() -> Response:
        """The protocol's version, its extensions and the largest upload, in headers. Needs no token."""
        return Response(status_code=204, headers=server_headers(max_bytes))

    @routes.post("", status_code=201, summary="Create a resumable upload", **describing.CREATE)
    async def create(request: Request, caller: Annotated[Principal, writer]) -> Response:
        """By tus 1.0: creation, creation-with-upload, creation-defer-length, concatenation.

        What the file is goes into `Upload-Metadata`, or into the query: `dataset` and the other fields of `POST
        /api/v1/uploads`, beside `filename`. All that can be wrong with these is said now, before a byte is sent.

        The upload lies at `Location`: its bytes go there by `PATCH`, by any tus client, and when all of them are there,
        it becomes an import of the same id. A creation counts as one of the tenant's uploads a minute, but for partial
        uploads (`Upload-Concat: partial`), which count when they are put together (`Upload-Concat: final;…`).
        """
        return await requests.create(request, caller)

    @routes.head("/{upload_id}", summary="How far a resumable upload is", **describing.HEAD)
    async def head(request: Request, upload_id: UUID, caller: Annotated[Principal, writer]) -> Response:
        """By tus 1.0: from `Upload-Offset` on the client sends what is left.

        410: the upload has expired, or its file was refused; the client begins anew. `GET` tells why.
        """
        return await requests.head(request, caller, upload_id)

    @routes.patch(
        "/{upload_id}", status_code=204, summary="Send bytes of a resumable upload", **describing.APPEND
    )
    async def append(request: Request, upload_id: UUID, caller: Annotated[Principal, writer]) -> Response:
        """By tus 1.0: adds the body at `Upload-Offset`. However the request ends, what has arrived is kept, unless it has an
        `Upload-Checksum`, of which all counts or nothing (460 if it does not match).

        Any replica takes any request. A second one at the present offset takes over from a first one that hangs: that one
        is answered 409 `upload_taken_over`.

        An upload may come in 10,000 pieces: with 1 MiB in each request, or more, that is any file of up to 9 GiB.

        The request with the last byte waits some seconds for what becomes of the file: `Penstock-Import` leads to the
        import; a file that is refused is answered with the problem that `POST /api/v1/uploads` would have answered, with 422
        for its 409. Neither: it is still being checked, and `GET` tells later.

        403 `upload_is_final`: it was made of other uploads, and takes no bytes.
        """
        return await requests.append(request, caller, upload_id)

    @routes.delete("/{upload_id}", status_code=204, summary="Remove a resumable upload", **describing.REMOVE)
    async def remove(request: Request, upload_id: UUID, caller: Annotated[Principal, writer]) -> Response:
        """By tus 1.0, termination: what was sent is removed. An import that it has become stays.

        409 `upload_in_use`: it is being checked just now, by itself or as a part of a final upload.
        """
        return await requests.remove(request, caller, upload_id)

    @routes.get("/{upload_id}", summary="How a resumable upload stands", **describing.SHOW)
    async def show(upload_id: UUID, caller: Annotated[Principal, writer]) -> ResumableUpload:
        """No part of tus, and needs none of its headers: tells what has become of the file, and why it was refused.

        410 `upload_gone`: it has expired before all of it had arrived.
        """
        return resource_of(await requests.show(caller, upload_id))

    return routes
