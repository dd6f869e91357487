"""The section `webhooks` of the OpenAPI description says what receivers are sent: every type, every member."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from services.notifier.app import build
from services.notifier.deliveries.samples import sample_of
from services.notifier.endpoints.described import webhook_events
from services.notifier.messages.event_types import EVENT_TYPES, TEST_TYPE
from services.notifier.messages.payloads import (
    all_deleted_body,
    batch_body,
    body_of,
    deleted_item,
    edit_body,
    record_item,
)
from shared.contracts.datasets import datasets
from shared.contracts.events import ColumnProfile
from shared.platform.service import Stopping, compose
from tests.notifier.given import completed

MODELS = {route.path: route.body_field.field_info.annotation for route in webhook_events().routes}
NOW = datetime.now(UTC)
BOOKS = datasets()["books"]
SHOWN = b'{"id":"9783522177504","title":"Momo"}'


def check(body):
    """Each member of `body` is described, and has the type that it is said to have."""
    said = json.loads(body)
    read = MODELS[said["type"]].model_validate_json(body)
    assert read.model_dump(mode="json", exclude_unset=True) == said


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, TEST_TYPE])
def test_each_type_is_described_as_its_example_is(event_type):
    check(sample_of(event_type, uuid4()))


def test_whatever_is_said_of_records_is_described():
    thin = b'{"id":"9783522177504","title":"%b"}' % (b"x" * 300_000)
    items = [record_item(BOOKS, "9783522177504", shown, row=7) for shown in (SHOWN, None, thin)]
    assert [sorted(json.loads(item)) for item in items] == [
        ["changed_by_row", "id", "links", "title"],
        ["changed_by_row", "deleted", "id"],
        ["changed_by_row", "id", "links", "thin"],
    ]
    batch = {"dataset": "books", "import_id": uuid4(), "number": 3, "rows": [7, 7, 9], "items": items}
    check(batch_body("book.updated", NOW, **batch))
    edit = {"dataset": "books", "edit_id": uuid4()}
    check(edit_body("book.created", NOW, item=record_item(BOOKS, "9783522177504", SHOWN), **edit))
    check(edit_body("book.deleted", NOW, item=deleted_item("9783522177504"), **edit))
    check(all_deleted_body("book.deleted", NOW, count=500_000, **edit))


def test_what_services_tell_each_other_of_the_records_is_not_told():
    told = body_of(completed(profile={"isbn": ColumnProfile(values=3, empty=0)}))
    check(told)
    for body in (told, sample_of("import.completed", uuid4())):
        assert "profile" not in json.loads(body)["data"]


def test_the_description_of_the_service_has_them(environment):
    document = compose([build(Stopping())]).openapi()
    assert set(document["webhooks"]) == {*EVENT_TYPES, TEST_TYPE}
    operation = document["webhooks"]["product.created"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "webhook-sequence",
    ]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][body]["properties"]["type"]["const"] == "product.created"
