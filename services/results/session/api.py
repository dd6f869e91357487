"""HTTP: sign in with a token, who am I, sign out."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.session import signing_in
from services.results.session.cookies import clear_cookies, set_cookie
from services.results.session.resources import NewSession, Session
from shared.contracts.scopes import SCOPES
from shared.platform.auth import Authenticator, Principal, refuse_cross_site, session_ids
from shared.platform.edge import problem_responses

_COOKIE = {"description": "The session, for this browser and no script in it", "schema": {"type": "string"}}
_OPENED: dict[int | str, dict[str, Any]] = {
    201: {"description": "Signed in", "headers": {"Set-Cookie": _COOKIE}}
}


def session_router(engine: AsyncEngine, auth: Authenticator, *, lasting: timedelta) -> APIRouter:
    """`/session`. `lasting`: how long a session lasts at most."""
    router = APIRouter(prefix="/api/v1/session", tags=["session"])

    def same_site(request: Request) -> None:
        # Also without a session: nobody is to be signed in as somebody else.
        refuse_cross_site(request.method, request.headers)

    @router.post(
        "",
        status_code=201,
        operation_id="sign_in",
        summary="Sign a browser in, by a token",
        dependencies=[Depends(same_site)],
        responses=_OPENED | problem_responses(401, 403, 422),
    )
    async def sign_in(request: Request, response: Response, new: NewSession) -> Session:
        """For the console's pages, which cannot keep a token where no script reads it. Other clients send their token with
        each request, as `Authorization: Bearer <token>`, which always counts more than the cookie.

        The cookie is the token's principal at every path of this API, until the token ends or its API key is revoked, but
        for 12 hours at most, unless the operator says otherwise. With it, nothing is changed for pages of other origins:
        403 `cross_site_request`.
        """
        before = session_ids(request.cookies)
        opened = await signing_in.sign_in(engine, auth, new.token, lasting=lasting, instead_of=before)
        set_cookie(request, response, opened.id, seconds=opened.seconds)
        return _shown(opened.caller, opened.expires_at)

    @router.get(
        "",
        operation_id="get_session",
        summary="Who calls, and what they may do",
        responses=problem_responses(401),
    )
    async def get(caller: Annotated[Principal, Depends(auth.caller)]) -> Session:
        """Of a session or of a bearer token. Needs no scope."""
        return _shown(caller, caller.expires_at)

    @router.delete(
        "",
        status_code=204,
        operation_id="sign_out",
        summary="Sign this browser out",
        dependencies=[Depends(same_site)],
        responses=problem_responses(403),
    )
    async def sign_out(request: Request) -> Response:
        """Its session opens nothing from now on, and the cookie is gone. To be signed out already does no harm."""
        await signing_in.sign_out(engine, session_ids(request.cookies))
        response = Response(status_code=204)
        clear_cookies(response)
        return response

    return router


def _shown(caller: Principal, expires_at: datetime | None) -> Session:
    return Session(
        subject=caller.subject,
        tenant=caller.tenant,
        scopes=sorted(SCOPES & caller.scopes),
        expires_at=expires_at,
    )
