"""`/api/v1/api-keys`: a tenant's administrators make, list and revoke the keys of their tenant."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.scopes import SCOPES
from tests.upload.conftest import bearer

PATH = "/api/v1/api-keys"


@pytest.fixture
def call(upload):
    """A request of an administrator."""

    async def send(method, path="", *, tenant="acme", scope="admin", headers=None, **options):
        headers = headers or bearer(upload.secret, scope, tenant=tenant)
        return await upload.client.request(method, f"{PATH}{path}", headers=headers, **options)

    return send


@pytest.fixture
def made(call):
    async def make(tenant="acme", **fields):
        response = await call(
            "POST", json={"name": "a key", "scopes": ["imports:write"]} | fields, tenant=tenant
        )
        assert response.status_code == 201, response.text
        return response.json()

    return make


def with_key(created):
    return {"Authorization": f"Bearer {created['key']}"}


async def test_a_key_is_shown_once_and_opens_what_its_scopes_say(upload, call, made):
    response = await call("POST", json={"name": "night import", "scopes": ["imports:write", "imports:write"], "expires_in_days": 7})  # fmt: skip
    created = response.json()
    key = created.pop("key")
    assert re.fullmatch(r"psk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)
    assert key.startswith(f"{created['id']}_")
    assert response.headers["location"] == f"{PATH}/{created['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert re.fullmatch("token:[0-9a-f]{8}", created["created_by"])
    lifetime = datetime.fromisoformat(created["expires_at"]) - datetime.fromisoformat(created["created_at"])
    assert abs(lifetime - timedelta(days=7)) < timedelta(minutes=1)
    assert (created["name"], created["scopes"]) == ("night import", ["imports:write"])
    assert (created["last_used_at"], created["revoked_at"]) == (None, None)

    shown = await call("GET", f"/{created['id']}")
    assert shown.json() == created
    assert key not in shown.text + (await call("GET")).text

    headers = {"Authorization": f"Bearer {key}"}
    assert (await upload.form(headers=headers)).status_code == 202
    assert (await call("GET", headers=headers)).status_code == 403
    [row] = await upload.rows()
    assert (row["tenant"], row["uploaded_by"]) == ("acme", f"key:{created['id'].removeprefix('psk_')}")
    assert (await call("GET", f"/{created['id']}")).json()["last_used_at"] is not None


async def test_a_revoked_key_opens_nothing_and_stays_in_the_list(upload, call, made):
    created = await made(scopes=["admin"])
    assert (await call("GET", headers=with_key(created))).status_code == 200
    for _ in range(2):
        response = await call("DELETE", f"/{created['id']}")
        assert (response.status_code, response.content) == (204, b"")
    once = (await call("GET", f"/{created['id']}")).json()["revoked_at"]
    assert once is not None
    await call("DELETE", f"/{created['id']}")
    assert [item["revoked_at"] for item in (await call("GET")).json()["items"]] == [once]
    refused = await call("GET", headers=with_key(created))
    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")


async def test_a_key_may_revoke_itself(call, made):
    created = await made(scopes=["admin"])
    assert (await call("DELETE", f"/{created['id']}", headers=with_key(created))).status_code == 204
    assert (await call("GET", headers=with_key(created))).status_code == 401


async def test_a_key_that_an_administrator_s_key_made_says_so(call, made):
    first = await made(scopes=["admin"])
    response = await call(
        "POST", json={"name": "second", "scopes": ["records:read"]}, headers=with_key(first)
    )
    assert response.json()["created_by"] == f"key:{first['id'].removeprefix('psk_')}"


async def test_without_an_expiry_it_does_not_expire_and_one_may_be_given_to_the_moment(made):
    assert (await made())["expires_at"] is None
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    assert datetime.fromisoformat((await made(expires_at=until))["expires_at"]) == datetime.fromisoformat(
        until
    )


async def test_an_expired_key_is_refused(upload, call, made):
    created = await made()
    await upload.database.execute("UPDATE auth.api_keys SET expires_at = now()")
    refused = await upload.form(headers=with_key(created))
    assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_another_tenant_s_key_is_not_there(call, made, method):
    theirs = await made(tenant="other")
    unknown = f"psk_{'0' * 12}"
    answers = [await call(method, f"/{each}") for each in (theirs["id"], unknown)]
    for answer, asked in zip(answers, (theirs["id"], unknown), strict=True):
        assert (answer.status_code, answer.json()["code"]) == (404, "api_key_not_found")
        assert asked in answer.json()["detail"]
    assert (await call("GET")).json()["items"] == []
    assert (await call("GET", headers=with_key(theirs))).status_code == 403
    assert (await call("GET", f"/{theirs['id']}", tenant="other")).json()["revoked_at"] is None


@pytest.mark.parametrize("scope", sorted(SCOPES - {"admin"}))
async def test_only_administrators_have_to_do_with_keys(call, made, scope):
    created = await made()
    for method, path in (
        ("POST", ""),
        ("GET", ""),
        ("GET", f"/{created['id']}"),
        ("DELETE", f"/{created['id']}"),
    ):
        refused = await call(method, path, scope=scope, json={"name": "n", "scopes": ["admin"]})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


async def test_the_list_is_in_pages_the_newest_first(call, made):
    keys = [(await made(name=f"key {number}"))["id"] for number in range(7)]
    await made(tenant="other")
    found, cursor = [], None
    for _ in range(4):
        page = (await call("GET", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (found, cursor) == (keys[::-1], None)


async def test_keys_that_were_made_in_the_same_moment_are_all_in_the_list(upload, call, made):
    keys = {(await made())["id"] for _ in range(5)}
    await upload.database.execute("UPDATE auth.api_keys SET created_at = '2026-01-01'")
    found, cursor = [], None
    while len(found) < 5:
        page = (await call("GET", params={"limit": 1} | ({"cursor": cursor} if cursor else {}))).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (set(found), cursor) == (keys, None)


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhcGkta2V5cyIsWyIyMDI2LTAxLTAxIiwiYSJdXQ", "WyJhcGkta2V5cyIsWyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsIlx1MDAwMCJdXQ", "WyJhcGkta2V5cyIsIFsiOTk5OS0xMi0zMVQyMzo1OTo1OS0xNDowMCIsICJhIl1d", "WyJhcGkta2V5cyIsIFsiMDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCIsICJhIl1d"])  # fmt: skip
async def test_a_cursor_that_is_none_is_refused(call, cursor):
    refused = await call("GET", params={"cursor": cursor})
    assert (refused.status_code, refused.json()["code"]) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", "x" * 101, "a\nb", "\x1b[2J", 7, None]),
        ("scopes", [[], ["everything"], "admin", ["admin", None], ["admin"] * 21, None]),
        ("expires_in_days", [0, -1, 3651, 1.5, "soon", 10**400]),
        (
            "expires_at",
            [
                "2020-01-01T00:00:00Z",
                "2036-12-31T23:59:59Z",
                "9999-12-31T23:59:59-23:59",
                "0001-01-01T00:00:00+23:59",
                "2027-01-01",
                "2027-01-01T00:00:00",
                "never",
                -1,
                1e300,
            ],
        ),
        ("tenant", ["other"]),
    ],
)
async def test_what_is_wrong_is_said(upload, call, field, values):
    for value in values:
        refused = await call("POST", json={"name": "n", "scopes": ["admin"], field: value})
        assert (refused.status_code, refused.json()["code"]) == (422, "request_invalid"), value
        assert field in refused.json()["detail"]
    assert (await call("GET")).json()["items"] == []


@pytest.mark.parametrize("name", [r"\ud800", r"\u0000"])
async def test_what_cannot_be_stored_is_no_name(call, upload, name):
    headers = bearer(upload.secret, "admin") | {"Content-Type": "application/json"}
    refused = await call(
        "POST", headers=headers, content=f'{{"name": "{name}", "scopes": ["admin"]}}'.encode()
    )
    assert refused.status_code == 422


async def test_a_key_has_one_expiry(call):
    new = {"name": "n", "scopes": ["admin"], "expires_in_days": 1, "expires_at": "2027-01-01T00:00:00Z"}
    refused = await call("POST", json=new)
    assert refused.status_code == 422
    assert "exclude each other" in refused.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/x", "/psk_0123456789AB", "/psk_0123456789abc", "/psk_%00", "/0123456789ab"]
)
async def test_an_id_is_written_in_one_way(call, path):
    assert (await call("GET", path)).status_code == 422


async def test_a_whole_key_in_a_path_is_not_shown_again(call, made):
    created = await made()
    for method in ("GET", "DELETE"):
        refused = await call(method, f"/{created['key']}")
        assert refused.status_code == 422
        assert created["key"] not in refused.text


async def test_a_tenant_has_a_hundred_keys_that_live(upload, call, made):
    await upload.database.execute(
        """INSERT INTO auth.api_keys (prefix, hash, tenant, scopes, expires_at, revoked_at)
        SELECT lpad(to_hex(n), 12, '0'), '', CASE WHEN n > 300 THEN 'other' ELSE 'acme' END, '{}',
            CASE WHEN n BETWEEN 100 AND 199 THEN now() - interval '1 s' END,
            CASE WHEN n BETWEEN 200 AND 300 THEN now() END
        FROM generate_series(1, 400) n"""
    )
    racing = await asyncio.gather(
        *(call("POST", json={"name": f"{number}", "scopes": ["admin"]}) for number in range(5))
    )
    assert sorted(answer.status_code for answer in racing) == [201, 409, 409, 409, 409]
    [problem, *_] = [answer.json() for answer in racing if answer.status_code == 409]
    assert (problem["code"], "revoke one" in problem["hint"]) == ("api_key_limit", True)
    assert (await call("DELETE", "/psk_000000000001")).status_code == 204
    await made()


async def test_a_key_that_is_made_is_in_no_log(made, configure, capsys):
    configure(level="debug", style="json")
    created = await made()
    assert created["key"].split("_", 2)[2] not in capsys.readouterr().err
