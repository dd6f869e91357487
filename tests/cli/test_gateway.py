"""The table of routes, and the gateway's page of all APIs."""

import re
from contextlib import nullcontext

import httpx
import pytest

from penstock.gateway import gateway, merged
from penstock.registry import NAMES, build
from shared.contracts.routes import ROUTES, service_for
from shared.platform.service import Stopping, compose


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
    transport = httpx.ASGITransport(gateway({}, nullcontext))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        page = (await client.get("/docs")).text
        wanted = re.findall(r"(?:href|src)=\"([^\"]+)\"", page)
        assert len(wanted) == 3, page
        for path in wanted:
            assert path.startswith("/docs/assets/")
            assert (await client.get(path)).status_code == 200
