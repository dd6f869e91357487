"""Webhooks in the console: an endpoint from its first test to its end, deliveries that fail, and what is shown as text."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.console.browsing import Windows, axe, fits, screenshot
from tests.console.origin import Tenant
from tests.e2e.stack import free_port
from tests.notifier.receiver import Answer, Receiver, until

PHONE = {"width": 390, "height": 844}
MARKUP = "<img src=x onerror=\"document.title='taken'\">"
BROKEN = Answer(500, f"<h1>{MARKUP} the warehouse is closed</h1>".encode())

Check = Callable[[], Awaitable[list[str]]]


def products(name: str) -> str:
    return f"name,sku,description\n{name},{name},made of oak\n"


def dialog(page: Page, name: str) -> Locator:
    return page.get_by_role("dialog", name=name)


def delivery_rows(page: Page) -> Locator:
    return (
        page.get_by_role("region", name="Deliveries").get_by_role("row").filter(has=page.get_by_role("cell"))
    )


async def deliveries(tenant: Tenant, endpoint: str) -> list[dict[str, Any]]:
    """The newest first."""
    return list((await tenant.api.get(f"/webhooks/{endpoint}/deliveries"))["items"])


async def test_an_endpoint_from_its_first_test_to_its_end(page, page_errors, tenant, receiver):
    page_errors.expect("status of 422")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    # Given a tenant without any: the page says what they are for and offers to add one
    await page.get_by_role("link", name="Webhooks").click()
    await expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "webhooks-empty")

    # When one is added with a URL that cannot be, the API's words are at the field, and the rest stays as it was typed
    await page.get_by_role("button", name="Add webhook endpoint").click()
    adding = dialog(page, "Add webhook endpoint")
    await adding.get_by_label("URL").fill("ftp://warehouse")
    await adding.get_by_label("Description").fill("Warehouse, production")
    await adding.get_by_role("button", name="Add", exact=True).click()
    await expect(adding.get_by_label("URL")).to_have_accessible_description(
        re.compile("must begin with https://")
    )
    await expect(adding.get_by_label("URL")).to_be_focused()
    await adding.get_by_label("import.*").uncheck()
    await adding.get_by_label("URL").fill(receiver.url)
    await adding.get_by_role("button", name="Add", exact=True).click()
    await expect(adding.get_by_text("Choose at least one.")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "webhooks-add")
    await adding.get_by_label("import.completed").check()
    await adding.get_by_label("Headers").fill("X-Team: stock\nAuthorization: Bearer abc")
    await adding.get_by_label("Attempts a second").fill("50")
    await adding.get_by_role("button", name="Add", exact=True).click()

    # Then its secret is shown, and is what the API has
    added = dialog(page, "Webhook endpoint added")
    await expect(added).to_be_visible()
    [endpoint] = (await tenant.api.get("/webhooks"))["items"]
    assert endpoint["url"] == receiver.url
    assert endpoint["description"] == "Warehouse, production"
    assert endpoint["event_types"] == ["import.completed"]
    assert endpoint["headers"] == {"X-Team": "stock", "Authorization": "********"}
    assert endpoint["rate_limit"] == 50
    here = f"/webhooks/{endpoint['id']}"
    secret = (await tenant.api.get(f"{here}/secret"))["secret"]
    await expect(added.get_by_text(secret)).to_be_visible()
    await added.get_by_role("button", name="Copy").click()
    await expect(page.get_by_text("Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == secret
    assert await axe(page) == []

    # And a test shows what was sent and what came back, which the receiver can verify with that secret
    await added.get_by_role("button", name="Send a test").click()
    testing = dialog(page, "Send a test")
    await testing.get_by_label("Event type").select_option("product.created")
    await testing.get_by_role("button", name="Send", exact=True).click()
    await expect(testing.get_by_text(f"POST {receiver.url}")).to_be_visible()
    await expect(testing.get_by_role("region", name="Payload")).to_contain_text('"type": "product.created"')
    await expect(testing.get_by_role("region", name="Response 1")).to_have_text("thanks")
    [sent] = receiver.received
    assert sent.verified(secret)["type"] == "product.created"
    assert (sent.headers["x-team"], sent.headers["authorization"]) == ("stock", "Bearer abc")
    await expect(testing.get_by_role("region", name="Headers")).to_contain_text(sent.headers["webhook-id"])
    assert await axe(page) == []
    await screenshot(page, "webhooks-test")
    await testing.get_by_role("button", name="Close").last.click()

    # The page that follows is the endpoint's
    await expect(page.get_by_role("heading", level=1)).to_have_text(receiver.url)
    await expect(delivery_rows(page)).to_contain_text(["product.created"])

    # When it is switched off, an import is not sent
    await page.get_by_role("link", name="Webhooks").first.click()
    await page.get_by_role("switch", name=f"Send to {receiver.url}").uncheck()
    await expect(page.get_by_text("Off. Nothing is sent")).to_be_visible()
    await expect(page.get_by_role("row", name=receiver.url)).to_contain_text("somebody switched it off")
    assert (await tenant.api.get(here))["enabled"] is False
    await tenant.imported("off.csv", products("quiet"), "products")
    await page.get_by_role("row", name=receiver.url).get_by_role("link").click()
    await expect(delivery_rows(page).nth(0)).to_contain_text("Skipped")
    assert len(receiver.received) == 1

    # When it is on again, the next one is, and appears without a reload
    await page.get_by_role("switch").check()
    await expect(page.get_by_text("On. What it missed")).to_be_visible()
    await tenant.imported("on.csv", products("loud"), "products")
    await receiver.wait_for(2)
    await expect(delivery_rows(page)).to_have_count(3)
    await expect(delivery_rows(page).nth(0)).to_contain_text(re.compile("import.completed.*Succeeded.*200"))

    # And what it missed is replayed, once it is said how many that are
    await page.get_by_role("button", name="Replay").click()
    replaying = dialog(page, "Replay deliveries")
    await expect(replaying.get_by_text("1 delivery to send again.")).to_be_visible()
    await replaying.get_by_label("Which").select_option("all")
    await expect(replaying.get_by_text("2 deliveries to send again.")).to_be_visible()
    await replaying.get_by_label("Created since").fill("2099-01-01T00:00")
    await replaying.get_by_label("Created since").blur()
    await expect(replaying.get_by_text("0 deliveries to send again.")).to_be_visible()
    await expect(replaying.get_by_role("button", name="Send 0 again")).to_be_disabled()
    await replaying.get_by_label("Created since").fill("2020-01-01T00:00")
    await replaying.get_by_label("Which").select_option("undelivered")
    await expect(replaying.get_by_text("1 delivery to send again.")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "webhooks-replay")
    assert len(receiver.received) == 2
    await replaying.get_by_role("button", name="Send 1 again").click()
    await receiver.wait_for(3)
    assert receiver.received[2].verified(secret)["data"]["file_name"] == "off.csv"
    await expect(delivery_rows(page).nth(1)).to_contain_text("Succeeded")

    # A filter is in the address, and survives a reload
    await page.get_by_label("Event type").select_option("webhook.test")
    await expect(page.get_by_role("heading", name="No delivery is like that")).to_be_visible()
    await page.get_by_label("Event type").select_option("product.created")
    await expect(delivery_rows(page)).to_have_count(1)
    assert page.url.endswith(f"{here}?event_type=product.created")
    await page.reload()
    await expect(delivery_rows(page)).to_have_count(1)

    # An edit changes what it says and leaves the rest
    await page.get_by_role("button", name="Edit").click()
    editing = dialog(page, "Edit webhook endpoint")
    await tenant.api.http.patch(tenant.api.url(here), json={"rate_limit": 40})  # in another tab, meanwhile
    await editing.get_by_label("Description").fill("")
    await editing.get_by_label("Headers").fill("Authorization: ********")
    await editing.get_by_label("products", exact=True).check()
    await editing.get_by_role("button", name="Save").click()
    await expect(editing).to_be_hidden()
    changed = await tenant.api.get(here)
    assert (changed["description"], changed["datasets"]) == (None, ["products"])
    assert (changed["headers"], changed["rate_limit"]) == ({"Authorization": "********"}, 40)

    # The secret is replaced by another; for the time chosen both verify
    await page.get_by_role("button", name="Secret").click()
    keys = dialog(page, "Signing secret")
    await expect(keys.get_by_text(secret)).to_be_visible()
    await keys.get_by_role("button", name="Rotate").click()
    await keys.get_by_label("Sign with the old one").select_option("1 hour")
    assert await axe(page) == []
    await keys.get_by_role("button", name="Rotate now").click()
    await expect(keys.get_by_text("Deliveries are signed with a replaced one, too")).to_be_visible()
    rotated = await tenant.api.get(f"{here}/secret")
    assert rotated["secret"] != secret
    assert [each["secret"] for each in rotated["retired"]] == [secret]
    await expect(keys.get_by_text(rotated["secret"])).to_be_visible()
    await keys.get_by_role("button", name="Close").last.click()
    await page.get_by_role("button", name="Send a test").click()
    await testing.get_by_role("button", name="Send", exact=True).click()
    await expect(testing.get_by_role("region", name="Response 1")).to_have_text("thanks")
    assert receiver.received[3].verified(secret) == receiver.received[3].verified(rotated["secret"])
    assert receiver.received[3].headers["authorization"] == "Bearer abc"
    await page.keyboard.press("Escape")

    # It is deleted only after a question, and then nothing of it is left
    await page.get_by_role("button", name="Delete").click()
    asking = dialog(page, "Delete this webhook endpoint?")
    await asking.get_by_role("button", name="Cancel").click()
    assert await tenant.api.get(here)
    await page.get_by_role("button", name="Delete").click()
    await asking.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("heading", name="Nobody is told yet")).to_be_visible()
    assert (await tenant.api.get("/webhooks"))["items"] == []
    assert not await tenant.api.rows("SELECT FROM notifier.endpoints WHERE tenant = $1", tenant.name)


async def test_a_delivery_that_fails_is_explained_and_retried(page, tenant, receiver):
    # Given an endpoint whose receiver is broken
    receiver.then = BROKEN
    endpoint = await tenant.api.webhook(receiver.url, "import.completed")
    await tenant.imported("p.csv", products("late"), "products")
    await receiver.wait_for(1)

    # Then the list says so
    await page.goto("/webhooks")
    await expect(page.get_by_role("row", name=receiver.url)).to_contain_text(
        re.compile(r"Failing\d+ failures? since")
    )
    await page.get_by_role("row", name=receiver.url).get_by_role("link").click()
    row = delivery_rows(page)
    await expect(row).to_contain_text("500")
    await expect(row).to_contain_text("Pending")
    await row.get_by_role("link", name="import.completed").click()

    # And the delivery shows what was sent, when it is attempted again, and what was answered
    await expect(page.get_by_role("heading", level=1)).to_have_text("import.completed")
    await expect(page.get_by_role("region", name="Payload")).to_contain_text('"file_name": "p.csv"')
    await expect(page.get_by_role("region", name="Response 1")).to_have_text(BROKEN.body.decode())
    assert await axe(page) == []
    await screenshot(page, "delivery")

    # A retry that fails, too, is another attempt; one that succeeds ends it
    [delivery] = await deliveries(tenant, endpoint["id"])
    before = delivery["attempts_made"]
    await page.get_by_role("button", name="Retry now").dblclick()
    await expect(page.get_by_role("status").get_by_text("500")).to_be_visible()
    await expect(page.get_by_text(re.compile(rf"#{before + 1}\b"))).to_be_visible()
    receiver.then = Answer(204, b"")
    await page.get_by_role("button", name="Retry now").click()
    await expect(page.get_by_role("main").get_by_text("Succeeded")).to_be_visible()
    [delivery] = await deliveries(tenant, endpoint["id"])
    assert (delivery["status"], delivery["last_attempt"]["response_status"]) == ("succeeded", 204)
    assert delivery["attempts_made"] == before + 2, "a double click is one attempt"
    assert {json.dumps(each.verified(endpoint["secret"])) for each in receiver.received} == {
        json.dumps(receiver.received[0].verified(endpoint["secret"]))
    }

    # And from the endpoint's page, with a receiver that is not there at all
    gone = await tenant.api.webhook(f"http://127.0.0.1:{free_port()}/hook", "import.completed")
    await tenant.api.post(f"/webhooks/{gone['id']}/test", {})
    await page.goto(f"/webhooks/{gone['id']}")
    await expect(delivery_rows(page)).to_contain_text("No answer")
    await page.get_by_role("button", name="Retry #1").click()
    await expect(page.get_by_role("status").get_by_text("connection refused")).to_be_visible()
    await expect(delivery_rows(page).get_by_role("cell", name="2", exact=True)).to_be_visible()


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": PHONE}], ids=["dark", "phone"])
async def test_what_others_wrote_is_text_and_everything_is_for_everybody(
    windows: Windows, tenant: Tenant, receiver: Receiver, options: dict[str, Any]
) -> None:
    # Given markup wherever somebody else writes: URL, description, headers, what a receiver answers
    receiver.then = BROKEN
    made = await tenant.api.post(
        "/webhooks",
        {
            "url": f"{receiver.url}?a={'x' * 600}&b={MARKUP.replace(' ', '%20')}",
            "description": f"{MARKUP} \u202eevil " + "long " * 300,
            "event_types": ["*"],
            "headers": {"X-Note": MARKUP},
        },
    )
    assert made.status_code == 201, made.text
    endpoint = made.json()
    await tenant.imported("p.csv", products("x"), "products")
    await until_answered(receiver)
    newest = (await deliveries(tenant, endpoint["id"]))[0]
    page = await windows.signed_in(tenant.token, **options)
    name = "dark" if "color_scheme" in options else "phone"

    # Then each page shows it as text, fits, and axe finds nothing
    here = f"/webhooks/{endpoint['id']}"
    for path, text in (
        ("/webhooks", MARKUP),
        (here, MARKUP),
        (f"{here}/deliveries/{newest['id']}", f"X-Note: {MARKUP}"),
    ):
        await page.goto(path)
        await expect(page.get_by_role("main")).to_contain_text(text)
        if path == here:
            await expect(delivery_rows(page).first).to_be_visible()
        await is_fit(page)
        await screenshot(page, f"webhooks-{path.count('/')}-{name}")

    # And so do the dialogs
    await page.goto(here)
    for button in ("Edit", "Secret", "Replay", "Send a test"):
        await page.get_by_role("button", name=button).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        if button == "Edit":
            await expect(page.get_by_label("Headers")).to_have_value(f"X-Note: {MARKUP}")
        if button == "Send a test":
            await page.get_by_role("button", name="Send", exact=True).click()
            await expect(page.get_by_role("region", name="Response 1")).to_have_text(BROKEN.body.decode())
        await is_fit(page)
        await screenshot(page, f"webhooks-{button.split()[0].lower()}-{name}")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def until_answered(receiver: Receiver) -> None:
    await until(lambda: len(receiver.received) >= 2)


async def is_fit(page: Page) -> None:
    assert await axe(page) == []
    assert await fits(page), "it scrolls sideways"
    assert await page.locator("img, script:not([src])").count() == 0
    assert not (await page.title()).startswith("taken")
