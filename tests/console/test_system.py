"""The console's page of the system: services, queues, API keys."""

import asyncio

import httpx
from playwright.async_api import Route, expect

from tests.console.browsing import axe, fits, screenshot


async def test_a_key_is_made_once_shown_works_and_is_revoked(page, page_errors, stack, tenant):
    await page.get_by_role("link", name="System").click()
    await expect(page.get_by_role("heading", name="No API keys yet")).to_be_visible()

    page_errors.expect("status of 422")
    await page.get_by_role("button", name="New API key").click()
    form = page.get_by_role("dialog", name="New API key")
    await form.get_by_role("textbox", name="Name").fill("night <b>import</b>")
    await form.get_by_role("button", name="Make the key").click()
    await expect(form.get_by_role("group", name="Scopes")).to_contain_text("at least 1 item")
    assert await axe(page) == []
    await form.get_by_role("checkbox", name="records:read").check()
    await form.get_by_label("Expires").select_option(label="in 30 days")
    # While it is made the dialog cannot be left: nobody would ever see the key
    may_go_on = asyncio.Event()

    async def wait(route: Route) -> None:
        await may_go_on.wait()
        await route.continue_()

    await page.route("**/api/v1/api-keys", wait)
    await form.get_by_role("button", name="Make the key").click()
    for _ in range(5):
        await page.keyboard.press("Escape")
    await expect(form.get_by_role("button", name="Cancel")).to_be_disabled()
    await expect(form.get_by_role("button", name="Close")).to_be_disabled()
    may_go_on.set()

    made = page.get_by_role("dialog", name="night <b>import</b>")
    await expect(made).to_contain_text("It is shown only here")
    assert await axe(page) == []
    await screenshot(page, "api-key")
    key = await made.locator("code").inner_text()
    await made.get_by_role("button", name="I have it").click()
    row = page.get_by_role("row", name="night <b>import</b>")
    await expect(row).to_contain_text("Active")
    assert key not in await page.content()

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        assert (await client.get(stack.url("/records/products"))).status_code == 200
        assert (await client.post(stack.url("/records/products"), json={})).status_code == 403
        await page.reload()
        await expect(row).to_contain_text("just now")
        await row.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(row).to_contain_text("Revoked")
        await expect(row.get_by_role("button")).to_have_count(0)
        assert (await client.get(stack.url("/records/products"))).status_code == 401
    [kept] = (await tenant.api.get("/api-keys"))["items"]
    assert kept["expires_at"] is not None


async def test_a_service_that_is_away_is_shown_and_the_page_goes_on(page, page_errors, stack):
    page_errors.expect("status of 503")
    await page.goto("/system")
    notifier = page.locator("section", has=page.get_by_role("heading", name="Notifier"))
    await expect(notifier).to_contain_text("Ok")
    await expect(page.get_by_role("row", name="notifier.events")).to_be_visible()
    await expect(page.get_by_role("table", name="Queues")).to_be_visible()

    stack.kill("notifier")

    await expect(notifier).to_contain_text("Unavailable")
    await expect(notifier).to_contain_text("notifier does not answer at present")
    await expect(page.locator("section", has=page.get_by_role("heading", name="Upload"))).to_contain_text(
        "Ok"
    )
    assert await axe(page) == []
    await screenshot(page, "system-away")
    await stack.started("notifier")
    await expect(notifier).to_contain_text("Ok", timeout=15_000)


async def test_whoever_is_no_admin_sees_what_can_be_seen(windows, tenant):
    token = tenant.token_for("imports:read")
    for scheme, width in (("light", 1280), ("dark", 390)):
        page = await windows.signed_in(token, color_scheme=scheme, viewport={"width": width, "height": 800})
        await page.goto("/system")

        await expect(page.get_by_text("Queues and API keys need the scope admin")).to_be_visible()
        await expect(page.get_by_role("heading", name="Processor")).to_be_visible()
        await expect(page.get_by_role("button", name="New API key")).to_have_count(0)
        assert await axe(page) == []
        assert await fits(page)
        await screenshot(page, f"system-{scheme}")
        books = page.get_by_role("main").locator("section").filter(has_text="Books")
        await books.get_by_text("4 columns").click()
        await expect(books.get_by_role("table", name="Columns of Books")).to_contain_text("publication_year")
        template = await books.get_by_role("link", name="Template CSV").get_attribute("href")
        assert (await page.request.get(template)).ok
        assert await axe(page) == []
