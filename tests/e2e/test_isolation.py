"""The first wall: every route of every service, asked without a token, without its scope, and by another tenant.

The routes are found, not listed: a new one is walked by itself, or fails here with the example that it lacks.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.results.console.api import SECTIONS
from shared.contracts.datasets import datasets
from shared.contracts.scopes import SCOPES
from tests.e2e.tenants import (
    ENDLESS,
    OWNER,
    RESUMABLE,
    Tenant,
    World,
    tables,
    two_tenants,
    unlike,
    without_row_security,
)

# Pages, which have no data in them.
PAGES = {
    "/",
    "/assets/{version}/{name}",
    *(f"/{name}{rest}" for name in SECTIONS for rest in ("", "/{rest}")),
}
# Whoever may reach the process may ask for these.
PUBLIC = {
    *((method, page) for method in ("GET", "HEAD") for page in PAGES),
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
    ("GET", "/docs"),
    ("ANY", "/docs/assets"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/health/{service}/live"),
    ("GET", "/health/{service}/ready"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/receipts/keys"),
    ("POST", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("OPTIONS", "/api/v1/tus"),
    ("OPTIONS", "/api/v1/tus/{upload_id}"),
}

# Whoever has a token, or a session, may ask what it is, and what the datasets are, which is nobody's data.
WITHOUT_SCOPE = {
    ("GET", "/api/v1/session"),
    ("GET", "/api/v1/datasets"),
    ("GET", "/api/v1/datasets/{dataset}"),
    ("GET", "/api/v1/datasets/{dataset}/template.csv"),
}

# What a path names that is the same for all tenants.
COMMON = {"dataset": "books", "job": "daily-analysis", "row_number": "1"}
SAME_FOR_ALL = {
    ("GET", "/api/v1/datasets"),
    ("GET", "/api/v1/datasets/{dataset}"),
    ("GET", "/api/v1/datasets/{dataset}/template.csv"),
}

# What has nothing of a tenant's own to show.
ONLY_NUMBERS = {
    ("GET", "/api/v1/analyses/buckets"),
    ("GET", "/api/v1/investigations/trend"),
    ("GET", "/api/v1/system"),
}

BOOK = {"title": "Ronja", "author": "Lindgren", "isbn": "9783789129407", "publication_year": 1981}
PRODUCT = {"sku": "B-1", "name": "Bolt"}

OLD_EVENT = {
    "event_dt": "2026-03-01 08:00:00",
    "supid": 17,
    "reason": "File read error",
    "stage": "load_mail",
}
NOBODYS = "0199d2a6-5c1e-7c3a-9b1f-3a6f0e8d4c21"
INVESTIGATION_STEPS: dict[str, dict[str, Any]] = {
    **{step: {} for step in ("acknowledge", "resolve", "reopen", "mute", "note")},
    "merge": {"into": NOBODYS},
    "split": {"fingerprints": [1]},
}

# What a route that takes a body, or needs a header, is asked with: by the stranger with what the owner has sent before.
TUS = {"headers": {"Tus-Resumable": "1.0.0"}}
REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/v1/uploads"): {
        "data": {"dataset": "books"},
        "files": {"file": ("books.csv", OWNER.books.encode(), "text/csv")},
    },
    ("POST", "/api/v1/tus"): {"headers": RESUMABLE},
    ("HEAD", "/api/v1/tus/{upload_id}"): TUS,
    ("DELETE", "/api/v1/tus/{upload_id}"): TUS,
    ("PATCH", "/api/v1/tus/{upload_id}"): {
        "headers": TUS["headers"] | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
        "content": b"title",
    },
    ("POST", "/api/v1/api-keys"): {"json": {"name": "night import", "scopes": ["imports:write"]}},
    ("POST", "/api/v1/webhooks"): {"json": {"url": "http://127.0.0.1:61009/", "event_types": ["import.*"]}},
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"json": {"enabled": False, "headers": {"X-Team": "mill"}}},
    ("POST", "/api/v1/webhooks/{webhook_id}/test"): {"json": {"event_type": "import.completed"}},
    ("POST", "/api/v1/webhooks/{webhook_id}/replay"): {"json": {"since": "2026-01-01", "status": "all"}},
    ("POST", "/api/v1/webhooks/{webhook_id}/rotate-secret"): {"json": {"overlap_hours": 1}},
    ("POST", "/api/v1/investigation-events"): {"json": OWNER.event},
    ("POST", "/api/v1/investigation-events/batch"): {"json": [OWNER.event, OWNER.unknown_event]},
    ("POST", "/api/v1/pricelens/log_event/"): {"json": OLD_EVENT},
    ("POST", "/api/v1/pricelens/log_event"): {"json": OLD_EVENT},
    ("POST", "/api/v1/suppliers"): {"json": {"id": "mill", "name": "Mill"}},
    ("POST", "/api/v1/suppliers/import"): {
        "content": f"id,name\n{OWNER.supplier},Mill\n".encode(),
        "headers": {"Content-Type": "text/csv"},
    },
    ("PUT", "/api/v1/suppliers/{supplier_id}"): {"json": {"name": "Mill"}},
    ("PATCH", "/api/v1/suppliers/{supplier_id}"): {"json": {"enabled": False}},
    ("POST", "/api/v1/jobs/{job}/runs"): {"json": {"date": "2026-03-01"}},
    ("POST", "/api/v1/investigations/actions"): {"json": {"ids": [NOBODYS], "action": "resolve"}},
    **{
        ("POST", f"/api/v1/investigations/{{investigation_id}}/{step}"): {"json": {"note": "so", **more}}
        for step, more in INVESTIGATION_STEPS.items()
    },
    ("PATCH", "/api/v1/investigation-reasons/{code}"): {"json": {"title": "So", "reviewed": True}},
    ("POST", "/api/v1/records/books"): {"json": BOOK},
    ("PUT", "/api/v1/records/books/{record_id}"): {"json": BOOK},
    ("PATCH", "/api/v1/records/books/{record_id}"): {"json": {"title": "Momo"}},
    ("DELETE", "/api/v1/records/books"): {"params": {"confirm": "books"}},
    ("POST", "/api/v1/records/products"): {"json": PRODUCT},
    ("PUT", "/api/v1/records/products/{record_id}"): {"json": PRODUCT},
    ("PATCH", "/api/v1/records/products/{record_id}"): {"json": {"name": "Bolt"}},
    ("DELETE", "/api/v1/records/products"): {"params": {"confirm": "products"}},
}

# What is answered 405 to whoever may write, as these records come with files only, or 404, as there is no such dataset.
REFUSED = {
    (method, f"/api/v1/records/{name}{below}")
    for name in ["{dataset}", *(dataset.name for dataset in datasets().values() if not dataset.editable)]
    for methods, below in ((("POST", "DELETE"), ""), (("PUT", "PATCH", "DELETE"), "/{record_id}"))
    for method in methods
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    has_body: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def of_a_tenant(self) -> list[str]:
        """What the path names that is one tenant's."""
        return [self._known_as(name) for name in self.parameters if name not in COMMON]

    def filled(self, ids: dict[str, str]) -> str:
        known = {name: ids[self._known_as(name)] for name in self.parameters if self._known_as(name) in ids}
        return self.path.format_map(COMMON | known)

    def _known_as(self, parameter: str) -> str:
        """What a tenant calls it: each dataset has records of its own, those of books are just records."""
        dataset = self.path.removeprefix("/api/v1/records/").partition("/")[0]
        of_others = datasets().keys() - {"books"}
        return f"{dataset}_{parameter}" if dataset in of_others else parameter

    def request(self) -> dict[str, Any]:
        return dict(REQUESTS.get(self.key, {}))


def found_in(routes: Iterable[Any], bodies: set[tuple[str, str]]) -> Iterator[Route]:
    for route in routes:
        if hasattr(route, "effective_candidates"):  # a router within a router
            yield from found_in(route.effective_candidates(), bodies)
            continue
        path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
        for method in sorted(getattr(route, "methods", None) or ["ANY"]):
            yield Route(method, path, (method, path) in bodies)


def routes_of(world: World) -> list[Route]:
    """Every route that is not public, those that make something last."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in world.app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    bodies = {(method, path) for method, path, operation in operations if "requestBody" in operation}
    found = list(found_in(world.app.routes, bodies))
    keys = [route.key for route in found]
    assert set(keys) >= {(method, path) for method, path, _ in operations}, "a documented route was not found"
    assert set(keys) >= PUBLIC, f"no longer there: {PUBLIC - set(keys)}"
    walked = [route for route in found if route.key not in PUBLIC]
    for route in walked:
        assert not route.has_body or route.key in REQUESTS, (
            f"{route}: add to REQUESTS what it may be asked with"
        )
        lacking = set(route.of_a_tenant) - set(world.owner.ids)
        assert not lacking, f"{route}: give each tenant in tests/e2e/tenants.py an example of {lacking}"
    return sorted(walked, key=lambda route: (route.method == "POST", route.path, route.method))


@pytest.fixture
async def world(environment):
    async with two_tenants(environment) as world:
        yield world


@pytest.fixture(params=["both walls", "the first one alone"])
async def besieged(world, request):
    """The world as it is; and with nothing but the queries' own conditions, whose faults the second wall would hide."""
    if request.param == "the first one alone":
        await without_row_security(world.database)
    return world


def assert_problem(response: httpx.Response, status: int, code: str | None = None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    if response.request.method != "HEAD":  # which has no body
        assert code in (None, response.json()["code"])


def shown(response: httpx.Response) -> str:
    """All that is told to the caller, but for when it was and which request."""
    headers = {
        name: value for name, value in response.headers.items() if name not in {"x-request-id", "date"}
    }
    return f"{response.status_code} {sorted(headers.items())} {response.text}"


async def state_of(world: World, tenant: Tenant) -> dict[str, list[str]]:
    """Every row of the tenant, wherever there is one."""
    return {
        table: [
            row["row"]
            for row in await world.database.fetch(
                f"SELECT t::text AS row FROM {table} t WHERE tenant = $1 ORDER BY 1", tenant.name
            )
        ]
        for table in await tables(world.database, with_tenant=True)
    }


async def test_without_a_token_nothing_is_answered(world, subtests):
    before = await state_of(world, world.owner)
    forged = world.owner.headers("another-secret-of-thirty-two-bytes", ["admin"])
    for route in routes_of(world):
        with subtests.test(str(route)):
            for headers, code in (({}, "token_missing"), (forged, "token_invalid")):
                request = route.request()
                request["headers"] = request.get("headers", {}) | headers
                path = route.filled(world.owner.ids)
                response = await world.client.request(route.method, path, **request)
                assert_problem(response, 401, code)
                assert response.headers["www-authenticate"].startswith("Bearer")
    assert await state_of(world, world.owner) == before


async def test_figures_name_no_tenant(world):
    """They need no token: whoever is in the network may scrape them."""
    figures = (await world.client.get("/metrics")).text
    assert "penstock_imports_total" in figures
    for tenant in (world.owner, world.stranger):
        assert not [known for known in (tenant.name, *tenant.marks) if known in figures]


async def test_without_its_scope_nothing_is_answered(world, subtests):
    before = await state_of(world, world.owner)
    for route in [one for one in routes_of(world) if one.key in WITHOUT_SCOPE]:
        with subtests.test(str(route)):
            assert (await ask(world, route, ())).status_code == 200
    for route in [one for one in routes_of(world) if one.key not in WITHOUT_SCOPE]:
        with subtests.test(str(route)):
            response = await ask(world, route, ())
            assert_problem(response, 403, "scope_missing")
            if route.method == "HEAD":  # it cannot say which one it needs
                continue
            needed = response.json()["required_scope"]
            assert needed in SCOPES
            assert_problem(await ask(world, route, SCOPES - {needed, "admin"}), 403, "scope_missing")
            if route.method == "GET":
                assert (await ask(world, route, {needed})).status_code == 200
    assert await state_of(world, world.owner) == before


async def ask(world: World, route: Route, scopes: Any) -> httpx.Response:
    path = route.filled(world.owner.ids)
    return await world.call(world.owner, route.method, path, scopes=scopes, **route.request())


async def test_what_another_tenant_has_is_not_there(besieged, subtests):
    world = besieged
    before = await state_of(world, world.owner)
    named = [route for route in routes_of(world) if route.of_a_tenant and route.key not in REFUSED]
    assert len(named) >= 10
    for route in named:
        with subtests.test(str(route)):
            for foreign in foreign_names(route):
                await assert_not_there(world, route, foreign)
    assert await state_of(world, world.owner) == before


def foreign_names(route: Route) -> list[list[str]]:
    """Which of the things in the path are another tenant's: each by itself, then all."""
    names = route.of_a_tenant
    return [[name] for name in names] + ([names] if len(names) > 1 else [])


async def assert_not_there(world: World, route: Route, foreign: list[str]) -> None:
    """What is the owner's is answered to the stranger in the very bytes of what is nobody's."""
    theirs = {name: world.owner.ids[name] for name in foreign}
    nobodys = {name: unlike(value) for name, value in theirs.items()}
    answers = []
    for ids in (theirs, nobodys):
        path = route.filled(world.stranger.ids | ids)
        response = await world.call(world.stranger, route.method, path, **route.request())
        assert_problem(response, 404)
        told = shown(response)
        for name, value in ids.items():
            told = told.replace(value, f"<{name}>")
        answers.append(told)
    assert answers[0] == answers[1]
    if route.method in {"GET", "HEAD"}:
        real = await world.call(world.owner, route.method, route.filled(world.owner.ids), **route.request())
        assert real.status_code == 200, f"the owner gets {real.text}"


async def test_a_file_corrects_nothing_of_another_tenant(besieged):
    world = besieged
    before = await state_of(world, world.owner)
    file = {"file": ("books.csv", b"title,author,isbn,publication_year,_line\nA,B,9780306406157,2000,3\n")}
    answers = []
    for import_id in (world.owner.ids["import_id"], unlike(world.owner.ids["import_id"])):
        fields = {"corrects": import_id, "force": "true"}
        response = await world.call(world.stranger, "POST", "/api/v1/uploads", data=fields, files=file)
        assert_problem(response, 422, "corrects_unknown")
        answers.append(response.json()["detail"].replace(import_id, ""))
    assert answers[0] == answers[1]
    assert await state_of(world, world.owner) == before


async def test_nothing_is_done_with_an_investigation_of_another_tenant(besieged):
    """That a body names."""
    world = besieged
    before = await state_of(world, world.owner)
    theirs, own = world.owner.ids["investigation_id"], world.stranger.ids["investigation_id"]
    answers = []
    for named in (theirs, unlike(theirs)):
        requests = {
            "actions": {"ids": [named], "action": "resolve"},
            f"{own}/merge": {"into": named},
        }
        told = ""
        for path, body in requests.items():
            asked = await world.call(world.stranger, "POST", f"/api/v1/investigations/{path}", json=body)
            told += shown(asked).replace(named, "<id>")
        assert "investigation_not_found" in told
        assert "merge_unfit" in told
        answers.append(told)
    assert answers[0] == answers[1]
    assert await state_of(world, world.owner) == before


async def test_a_list_holds_nothing_of_another_tenant(besieged, subtests):
    world = besieged
    before = await state_of(world, world.owner)
    lists = [one for one in routes_of(world) if not one.of_a_tenant and one.path != ENDLESS]
    for route in [one for one in lists if one.key not in REFUSED]:
        with subtests.test(str(route)):
            response = await world.call(world.stranger, route.method, route.filled({}), **route.request())
            assert response.status_code < 300, response.text
            assert_nothing_of(world.owner, response)
            if route.method == "GET" and route.key not in SAME_FOR_ALL | ONLY_NUMBERS:
                await assert_the_owner_finds_theirs(world, route)
    assert await state_of(world, world.owner) == before


async def test_the_stream_of_all_imports_holds_nothing_of_another_tenant(besieged):
    world = besieged
    ever = {"Last-Event-ID": "2000-01-01T00:00:00Z"}
    theirs, own = [
        await world.call(tenant, "GET", ENDLESS, headers=ever) for tenant in (world.stranger, world.owner)
    ]
    assert_nothing_of(world.owner, theirs)
    assert world.owner.ids["import_id"] in own.text


def assert_nothing_of(tenant: Tenant, response: httpx.Response) -> None:
    told = shown(response)
    assert [mark for mark in tenant.marks if mark in told] == []


async def assert_the_owner_finds_theirs(world: World, route: Route) -> None:
    path = route.filled({})
    response = await world.call(world.owner, "GET", path)
    assert any(mark in response.text for mark in world.owner.marks), "then the list would prove nothing"
    if response.headers["content-type"] != "application/json":  # a file has no pages
        return
    first = await world.call(world.owner, "GET", path, params={"limit": 1})
    if cursor := first.json().get("next_cursor"):
        following = await world.call(world.stranger, "GET", path, params={"cursor": cursor})
        assert following.status_code < 300, following.text
        assert_nothing_of(world.owner, following)
