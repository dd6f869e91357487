"""Sessions of browsers: who gets one, what it opens at each service, and when it no longer does."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from fastapi import Request
from sqlalchemy import event, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.registry import MIGRATIONS, build
from services.results.session import signing_in
from shared.contracts.problems import Unauthenticated
from shared.contracts.routes import service_for
from shared.platform.auth import (
    SessionVerifier,
    authenticator,
    authenticator_of,
    create_api_key,
    create_jwt,
    new_session_id,
    prefix_of,
)
from shared.platform.auth.jwt import CLOCK_SKEW
from shared.platform.database import async_url, engine_for
from shared.platform.service import Stopping, compose
from shared.platform.settings import ApiSettings
from shared.platform.tenancy import tenant_reading

SESSION = "/api/v1/session"
NAMES = {"http": "penstock_session", "https": "__Host-penstock_session"}
SERVING = [migrations.service for migrations in MIGRATIONS if migrations.serves_tenants]
# A path of each service that shows a list.
LISTS = ("/api/v1/api-keys", "/api/v1/imports", "/api/v1/webhooks")
OWN_PAGE, OTHER_PAGE = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}


@dataclass
class Door:
    """The services behind one origin, each a process of its own as far as it knows. No cookie is sent but those given."""

    clients: dict[str, httpx.AsyncClient]
    database: "asyncpg.Connection[Any]"
    secret: str

    async def ask(
        self,
        method: str,
        path: str,
        *,
        session: str | None = None,
        token: str | None = None,
        scheme: str = "http",
        headers: Any = None,
        **request: Any,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if session is not None:
            sent["Cookie"] = f"theme=dark; {NAMES[scheme]}={session}"
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        client = self.clients[service_for(path) or "nobody"]
        response = await client.request(method, f"{scheme}://penstock{path}", headers=sent, **request)
        client.cookies.clear()
        return response

    def jwt(self, *scopes: Any, tenant: str = "acme", lifetime: timedelta = timedelta(hours=1)) -> str:
        scopes = scopes or ("admin",)
        return create_jwt(self.secret, tenant=tenant, scopes=scopes, audience="penstock", lifetime=lifetime)

    async def sign_in(self, token: str | None = None) -> str:
        """The id of a new session."""
        response = await self.ask("POST", SESSION, json={"token": token or self.jwt()})
        assert response.status_code == 201, response.text
        return cookies_of(response)["penstock_session"].value

    async def count(self) -> int:
        return int(await self.database.fetchval("SELECT count(*) FROM auth.sessions"))


@pytest.fixture
async def database(database_url):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def door(environment, database):
    async with AsyncExitStack() as stack:
        clients = {}
        for name in SERVING:
            app = compose([build(name, Stopping())])
            await stack.enter_async_context(app.router.lifespan_context(app))
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
            clients[name] = await stack.enter_async_context(client)
        yield Door(clients, database, environment["PENSTOCK_JWT_SECRET"])


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "results", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def new_key(database_url):
    """Makes API keys, as whoever owns the database."""
    owner = create_async_engine(async_url(database_url))

    async def make(**options):
        async with owner.begin() as connection:
            return await create_api_key(connection, **{"tenant": "keyed", "scopes": ["admin"]} | options)

    yield make
    await owner.dispose()


def cookies_of(response: httpx.Response) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for line in response.headers.get_list("set-cookie"):
        found.load(line)
    return found


def assert_problem(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


async def test_a_jwt_becomes_a_session_of_the_same_caller(door):
    token = door.jwt("imports:read", "records:read")
    shown = (await door.ask("GET", SESSION, token=token)).json()
    response = await door.ask("POST", SESSION, json={"token": token})
    assert response.status_code == 201
    assert response.json() == shown
    assert (shown["tenant"], shown["scopes"]) == ("acme", ["imports:read", "records:read"])
    session = cookies_of(response)["penstock_session"].value
    assert (await door.ask("GET", SESSION, session=session)).json() == shown
    assert (await door.ask("GET", "/api/v1/imports", session=session)).status_code == 200
    assert_problem(await door.ask("GET", "/api/v1/webhooks", session=session), 403, "scope_missing")


async def test_ids_are_random_and_only_their_hashes_are_kept(door):
    token = door.jwt()
    ids = [await door.sign_in(token) for _ in range(2)]
    assert len(set(ids)) == 2
    assert all(each.startswith("pss_") and len(each) == 4 + 43 for each in ids)
    kept = str(await door.database.fetch("SELECT s::text FROM auth.sessions s"))
    assert not any(secret[10:] in kept for secret in (*ids, token))


@pytest.mark.parametrize("scheme", NAMES)
async def test_no_script_and_no_other_site_gets_the_cookie(door, scheme):
    response = await door.ask("POST", SESSION, scheme=scheme, json={"token": door.jwt()})
    [(name, cookie)] = cookies_of(response).items()
    assert name == NAMES[scheme]
    assert (cookie["path"], cookie["samesite"].lower(), cookie["domain"]) == ("/", "strict", "")
    assert cookie["httponly"] is True
    assert bool(cookie["secure"]) == (scheme == "https")
    left = datetime.fromisoformat(response.json()["expires_at"]) - datetime.now(UTC)
    assert abs(int(cookie["max-age"]) - left.total_seconds()) < 5
    assert (await door.ask("GET", SESSION, scheme=scheme, session=cookie.value)).status_code == 200


@pytest.mark.parametrize("scheme", NAMES)
async def test_a_session_opens_every_service(door, scheme):
    session = await door.sign_in()
    for path in LISTS:
        assert (await door.ask("GET", path, scheme=scheme, session=session)).status_code == 200
        assert_problem(await door.ask("GET", path, scheme=scheme), 401, "token_missing")
        assert_problem(
            await door.ask("GET", path, scheme=scheme, session=new_session_id()), 401, "session_expired"
        )


async def test_over_tls_no_cookie_counts_that_a_neighbouring_host_can_set(door):
    mine, theirs = await door.sign_in(), await door.sign_in(door.jwt(tenant="evil"))
    planted = {"Cookie": f"{NAMES['http']}={theirs}"}
    for path in LISTS:
        answer = await door.ask("GET", path, scheme="https", headers=planted)
        assert_problem(answer, 401, "token_missing")
    both = {"Cookie": f"{NAMES['http']}={theirs}; {NAMES['https']}={mine}"}
    assert (await door.ask("GET", SESSION, scheme="https", headers=both)).json()["tenant"] == "acme"
    await door.ask("DELETE", SESSION, scheme="https", headers=both | OWN_PAGE)
    assert await door.count() == 0


async def test_a_page_gets_nothing_by_another_tenants_session(door):
    name = "Acme Żółć 書店 %41"
    session = await door.sign_in(door.jwt(tenant=name))
    own, other = {"Penstock-Tenant": quote(name)}, {"Penstock-Tenant": "acme"}
    for path in LISTS:
        assert (await door.ask("GET", path, session=session, headers=own)).status_code == 200
        assert_problem(await door.ask("GET", path, session=session, headers=other), 409, "session_changed")
    for path, body in CHANGES:
        answer = await door.ask("POST", path, session=session, json=body, headers=OWN_PAGE | other)
        assert_problem(answer, 409, "session_changed")
    # A token is meant by whoever sends it.
    assert (await door.ask("GET", SESSION, token=door.jwt(), headers=own)).status_code == 200


async def test_a_session_is_of_one_tenant(door, new_key):
    await new_key(name="theirs")
    mine, theirs = await door.sign_in(), await door.sign_in(await new_key())
    for session, count in ((mine, 0), (theirs, 2)):
        assert len((await door.ask("GET", "/api/v1/api-keys", session=session)).json()["items"]) == count


EVENT = {"stage": "load_ftp", "reason": "file_missing"}
CHANGES = (
    ("/api/v1/api-keys", {"name": "night import", "scopes": ["imports:write"]}),
    ("/api/v1/records/books", []),  # no record, but it got as far as that
    ("/api/v1/suppliers", {"id": "mill", "name": "Mill"}),
    # These are taken by hand where they come with a token.
    ("/api/v1/investigation-events", EVENT),
    ("/api/v1/investigation-events/batch", {"events": [EVENT]}),
)


@pytest.mark.parametrize(("path", "body"), CHANGES, ids=[path for path, _ in CHANGES])
async def test_a_session_changes_something_for_ones_own_pages_only(door, path, body):
    session, token = await door.sign_in(), door.jwt()
    refused = await door.ask("POST", path, session=session, json=body, headers=OTHER_PAGE)
    assert_problem(refused, 403, "cross_site_request")
    taken = await door.ask("POST", path, session=session, json=body, headers=OWN_PAGE)
    assert taken.status_code in {201, 202, 422}, taken.text
    # A token no browser adds by itself: whoever sends it means it.
    by_token = await door.ask("POST", path, token=token, json=body, headers=OTHER_PAGE)
    assert by_token.status_code in {201, 202, 409, 422}, by_token.text


async def test_other_pages_may_follow_links_to_what_is_read(door):
    session = await door.sign_in()
    for path in (*LISTS, SESSION):
        assert (await door.ask("GET", path, session=session, headers=OTHER_PAGE)).status_code == 200


async def test_nobody_is_signed_in_or_out_by_another_page(door):
    session = await door.sign_in()
    for method, request in (("POST", {"json": {"token": door.jwt(tenant="evil")}}), ("DELETE", {})):
        for own in (session, None):
            answer = await door.ask(method, SESSION, session=own, headers=OTHER_PAGE, **request)
            assert_problem(answer, 403, "cross_site_request")
            assert "set-cookie" not in answer.headers
    assert await door.count() == 1


async def test_an_authorization_header_always_counts_more(door):
    session = await door.sign_in()
    other = await door.ask("GET", SESSION, session=session, token=door.jwt(tenant="other"))
    assert other.json()["tenant"] == "other"
    assert_problem(await door.ask("GET", SESSION, session=session, token="wrong"), 401, "token_invalid")
    for value in ("Basic YTpi", "Bearer", ""):
        answer = await door.ask("GET", SESSION, session=session, headers={"Authorization": value})
        assert_problem(answer, 401, "token_missing")


async def test_a_session_is_no_token(door):
    session = await door.sign_in()
    assert_problem(await door.ask("GET", SESSION, token=session), 401, "token_invalid")
    assert_problem(await door.ask("POST", SESSION, json={"token": session}), 401, "token_invalid")
    assert await door.count() == 1


async def test_a_token_is_no_session(door):
    for cookie in (door.jwt(), "psk_0123456789ab_", "%00", "pss_"):
        assert_problem(await door.ask("GET", SESSION, session=cookie), 401, "session_expired")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "token_invalid"),
        ("a.b.c", "token_invalid"),
        ("\u00e9", "token_invalid"),
        ("psk_0123456789ab_" + "x" * 43, "token_invalid"),
        ("x" * 8193, "token_invalid"),
    ],
)
async def test_who_is_not_let_in_is_not_signed_in(door, token, code):
    answer = await door.ask("POST", SESSION, json={"token": token})
    assert_problem(answer, 401, code)
    assert "set-cookie" not in answer.headers
    assert await door.count() == 0


async def test_a_token_that_is_over_signs_nobody_in(door, new_key):
    over = door.jwt(lifetime=-timedelta(minutes=1))
    revoked = await new_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for token in (over, revoked):
        assert_problem(await door.ask("POST", SESSION, json={"token": token}), 401, "token_expired")
    assert await door.count() == 0


@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": "a", "tenant": "acme"}, []])
async def test_what_is_no_token_at_all_is_said(door, body):
    assert_problem(await door.ask("POST", SESSION, json=body), 422, "request_invalid")


async def test_a_session_ends_with_its_token(door, new_key):
    end = datetime.now(UTC) + timedelta(minutes=10)
    of_key = (await door.ask("POST", SESSION, json={"token": await new_key(expires_at=end)})).json()
    assert datetime.fromisoformat(of_key["expires_at"]) == end
    token = door.jwt(lifetime=timedelta(minutes=10))
    of_jwt = (await door.ask("POST", SESSION, json={"token": token})).json()
    assert abs(datetime.fromisoformat(of_jwt["expires_at"]) - end - CLOCK_SKEW) < timedelta(seconds=5)


@pytest.mark.parametrize("hours", [None, 3])
async def test_a_session_lasts_half_a_day_or_as_long_as_is_set(environment, database, monkeypatch, hours):
    if hours:
        monkeypatch.setenv("PENSTOCK_SESSION_HOURS", str(hours))
    app = compose([build("results", Stopping())])
    transport = httpx.ASGITransport(app)
    door = Door({}, database, environment["PENSTOCK_JWT_SECRET"])
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://penstock") as client,
    ):
        response = await client.post(SESSION, json={"token": door.jwt(lifetime=timedelta(days=365))})
    left = datetime.fromisoformat(response.json()["expires_at"]) - datetime.now(UTC)
    assert abs(left - timedelta(hours=hours or 12)) < timedelta(seconds=10)


async def test_a_session_that_is_over_opens_nothing_and_says_what_to_do(door):
    session = await door.sign_in()
    await door.database.execute("UPDATE auth.sessions SET expires_at = now()")
    for path in (*LISTS, SESSION):
        answer = await door.ask("GET", path, session=session)
        assert_problem(answer, 401, "session_expired")
        assert "sign in" in answer.json()["hint"]
        assert session not in answer.text


@pytest.mark.parametrize("how", ["revoked", "expired", "gone"])
async def test_a_session_does_not_outlive_its_api_key(door, new_key, how):
    key = await new_key()
    session, other = await door.sign_in(key), await door.sign_in(await new_key())
    statement = {
        "revoked": "UPDATE auth.api_keys SET revoked_at = now() WHERE prefix = $1",
        "expired": "UPDATE auth.api_keys SET expires_at = now() WHERE prefix = $1",
        "gone": "DELETE FROM auth.api_keys WHERE prefix = $1",
    }[how]
    await door.database.execute(statement, prefix_of(key))
    for path in LISTS:
        assert_problem(await door.ask("GET", path, session=session), 401, "session_expired")
        assert (await door.ask("GET", path, session=other)).status_code == 200


async def test_a_session_of_a_jwt_is_of_no_api_key_whatever_its_subject_is_called(door, new_key):
    prefix = prefix_of(await new_key())
    session = await door.sign_in()
    await door.database.execute("UPDATE auth.sessions SET subject = $1", f"key:{prefix}")
    await door.database.execute("UPDATE auth.api_keys SET revoked_at = now()")
    assert (await door.ask("GET", SESSION, session=session)).json()["subject"] == f"key:{prefix}"


async def test_who_signs_out_is_out_everywhere_at_once(door):
    session, other = await door.sign_in(), await door.sign_in()
    answer = await door.ask("DELETE", SESSION, session=session, headers=OWN_PAGE)
    assert answer.status_code == 204
    cleared = cookies_of(answer)
    assert set(cleared) == set(NAMES.values())
    assert {(cookie.value, cookie["max-age"], cookie["path"]) for cookie in cleared.values()} == {
        ("", "0", "/")
    }
    assert cleared["__Host-penstock_session"]["secure"]  # without it browsers keep the old one
    for path in LISTS:
        assert_problem(await door.ask("GET", path, session=session), 401, "session_expired")
        assert (await door.ask("GET", path, session=other)).status_code == 200
    assert await door.count() == 1


async def test_to_sign_out_twice_or_without_a_session_does_no_harm(door):
    session = await door.sign_in()
    for given in (session, session, None, "pss_"):
        assert (await door.ask("DELETE", SESSION, session=given)).status_code == 204
    assert await door.count() == 0


async def test_who_signs_in_again_leaves_no_session_behind(door):
    first, other = await door.sign_in(), await door.sign_in()
    answer = await door.ask("POST", SESSION, session=first, json={"token": door.jwt()}, headers=OWN_PAGE)
    assert answer.status_code == 201
    assert_problem(await door.ask("GET", SESSION, session=first), 401, "session_expired")
    assert (await door.ask("GET", SESSION, session=other)).status_code == 200
    # One that is refused stays as it was.
    assert (await door.ask("POST", SESSION, session=other, json={"token": "wrong"})).status_code == 401
    assert (await door.ask("GET", SESSION, session=other)).status_code == 200


async def test_without_a_session_it_is_told_of_the_bearer(door, new_key):
    key = await new_key(scopes=["records:read"])
    shown = (await door.ask("GET", SESSION, token=key)).json()
    assert shown == {
        "subject": f"key:{prefix_of(key)}",
        "tenant": "keyed",
        "scopes": ["records:read"],
        "expires_at": None,
    }
    assert_problem(await door.ask("GET", SESSION), 401, "token_missing")


# Sessions as they are in the table: of `subject`, the newest `age` minutes old, and so long until their end.
SOME = """
    INSERT INTO auth.sessions (hash, tenant, subject, scopes, created_at, expires_at)
    SELECT sha256(($1 || $2 || n)::bytea), $1, $2, '{}', now() - make_interval(mins => n), now() + $4
    FROM generate_series(1, $3) AS n
"""


async def test_one_subject_has_a_hundred_sessions_and_the_oldest_goes(door, new_key):
    key = await new_key()
    mine, hour = f"key:{prefix_of(key)}", timedelta(hours=1)
    for tenant, subject, number in (("keyed", mine, 100), ("keyed", "other", 101), ("acme", mine, 101)):
        await door.database.execute(SOME, tenant, subject, number, hour)
    session = await door.sign_in(key)
    assert (await door.ask("GET", SESSION, session=session)).status_code == 200
    rows = await door.database.fetch(
        "SELECT tenant, subject, count(*), max(now() - created_at) AS age FROM auth.sessions GROUP BY 1, 2"
    )
    left = {
        (row["tenant"], row["subject"]): (row["count"], round(row["age"] / timedelta(minutes=1)))
        for row in rows
    }
    assert left == {("keyed", mine): (100, 99), ("keyed", "other"): (101, 101), ("acme", mine): (101, 101)}


async def test_sign_ins_at_the_same_time_do_not_go_beyond_it(door, monkeypatch):
    monkeypatch.setattr(signing_in, "MAX_LIVE", 3)
    token = door.jwt()
    ids = await asyncio.gather(*(door.sign_in(token) for _ in range(8)))
    answers = [(await door.ask("GET", SESSION, session=each)).status_code for each in ids]
    assert sorted(answers) == [200] * 3 + [401] * 5


async def test_what_is_over_goes_a_part_at_each_sign_in(door, monkeypatch):
    monkeypatch.setattr(signing_in, "MAX_CLEANED", 2)
    for minutes in (1, 2, 3):
        await door.database.execute(SOME, "acme", str(minutes), 1, -timedelta(minutes=minutes))
    left = []
    for _ in range(2):
        await door.sign_in()
        over = "SELECT subject FROM auth.sessions WHERE expires_at <= now()"
        left.append([row["subject"] for row in await door.database.fetch(over)])
    assert left == [["1"], []]
    assert await door.count() == 2


async def test_what_takes_long_ends_with_the_session(door, database_url, engine, monkeypatch):
    auth = authenticator_of(ApiSettings(), engine)
    session = await door.sign_in()
    cookie = [(b"cookie", f"penstock_session={session}".encode())]
    request = Request({"type": "http", "scheme": "http", "method": "GET", "headers": cookie})
    permit = await auth.permit("imports:read")(request, None)
    assert permit.caller.tenant == "acme"
    await door.ask("DELETE", SESSION, session=session)
    assert await permit.holds()  # it was looked at only just now
    monkeypatch.setattr(authenticator, "CHECK_SECONDS", 0.0)
    assert not await permit.holds()


async def test_a_check_is_one_statement(door, engine):
    verifier = SessionVerifier(engine)
    session = await door.sign_in()
    await verifier.principal(session)
    said: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *sent: said.append(sent[2]))
    assert (await verifier.principal(session)).tenant == "acme"
    [statement] = said
    assert statement.split()[0] == "SELECT"
    await door.database.execute("DELETE FROM auth.sessions")
    with pytest.raises(Unauthenticated):  # nothing is remembered
        await verifier.principal(session)


@pytest.mark.parametrize("service", SERVING)
async def test_results_begins_and_ends_sessions_and_the_others_only_read_them(database_url, service):
    engine = engine_for(database_url, service, pool_size=1)
    allowed = {"INSERT", "DELETE"} if service == "results" else set()
    for statement in (
        "INSERT INTO auth.sessions (hash, tenant, subject, scopes, expires_at) VALUES ('', 'a', 'b', '{}', now())",
        "UPDATE auth.sessions SET expires_at = 'infinity'",
        "DELETE FROM auth.sessions",
    ):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM auth.sessions"))
            if statement.split()[0] in allowed:
                await connection.execute(text(statement))
            else:
                with pytest.raises(ProgrammingError, match="permission denied"):
                    await connection.execute(text(statement))
    async with tenant_reading(engine, "acme") as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(text("SELECT tenant FROM auth.sessions"))
    await engine.dispose()
