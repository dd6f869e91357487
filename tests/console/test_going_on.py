"""Work goes on: when the session ends in the middle of it, in another tab, and while a service is away."""

import pytest
from playwright.async_api import expect

from tests.console.browsing import axe
from tests.console.origin import new_tenant

BOOKS = "title,author,isbn,publication_year\nRonja,Lindgren,9783789129407,1981\nBad,x,1,1900\n"


async def end_sessions(stack, tenant):
    await stack.rows("DELETE FROM auth.sessions WHERE tenant = $1", tenant.name)


async def sign_in_again(page, tenant):
    dialog = page.get_by_role("dialog", name="Your session has ended")
    await dialog.get_by_label("API key or token").fill(tenant.token)
    await dialog.get_by_role("button", name="Sign in").click()
    await expect(dialog).to_have_count(0)


@pytest.fixture
async def stranger(whole_stack, tmp_path):
    """Another tenant, who uses the same browser."""
    async with new_tenant(whole_stack, tmp_path) as made:
        yield made


async def test_a_session_that_ends_in_the_middle_of_work_costs_none_of_it(
    page, tenant, stack, page_errors, receiver
):
    page_errors.expect("status of 401")
    await page.goto("/webhooks")
    await page.get_by_role("button", name="Add").first.click()
    await page.get_by_label("URL").fill(receiver.url)
    await page.get_by_role("dialog").get_by_label("import.completed").check()

    await end_sessions(stack, tenant)
    await page.get_by_role("dialog").get_by_role("button", name="Add").click()
    ended = page.get_by_role("dialog", name="Your session has ended")
    await expect(ended).to_be_visible()
    assert await axe(page) == []
    await ended.get_by_label("API key or token").fill("wrong")
    await ended.get_by_role("button", name="Sign in").click()
    await expect(ended.get_by_role("alert")).to_be_visible()
    for _ in range(5):
        await page.keyboard.press("Escape")
    await expect(ended).to_be_visible()
    await sign_in_again(page, tenant)

    await expect(page.get_by_text("whsec_")).to_be_visible()
    [made] = (await tenant.api.get("/webhooks"))["items"]
    assert made["url"] == receiver.url


async def test_what_happens_to_the_session_in_one_tab_holds_in_the_other(page, tenant, stack, page_errors):
    page_errors.expect("status of 401")
    other = await page.context.new_page()
    await other.goto("/imports")
    await expect(other.get_by_role("heading", name="Imports")).to_be_visible()
    for tab in (page, other):
        await expect(tab.get_by_text("Drag a file here")).to_be_visible()

    await end_sessions(stack, tenant)
    for tab in (page, other):
        await tab.get_by_role("link", name="Webhooks").click()
        await expect(tab.get_by_role("dialog", name="Your session has ended")).to_be_visible()
    await sign_in_again(page, tenant)
    await expect(other.get_by_role("dialog")).to_have_count(0)
    await expect(other.get_by_role("heading", name="Webhooks", exact=True)).to_be_visible()

    await other.get_by_role("button", name="Sign out").click()
    for tab in (page, other):
        await expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


async def filled_in(page, receiver):
    """The button that adds a webhook."""
    await page.goto("/webhooks")
    await page.get_by_role("button", name="Add").first.click()
    await page.get_by_label("URL").fill(receiver.url)
    await page.get_by_role("dialog").get_by_label("import.completed").check()
    return page.get_by_role("dialog").get_by_role("button", name="Add")


async def test_what_waits_for_a_session_is_not_done_in_anothers(
    page, tenant, stranger, page_errors, receiver
):
    page_errors.expect("status of 401")
    add = await filled_in(page, receiver)
    await end_sessions(stranger.api, tenant)
    await add.click()
    await sign_in_again(page, stranger)

    await expect(page.get_by_role("banner")).to_contain_text(stranger.name)
    await expect(page.get_by_role("heading", name="Webhooks", exact=True)).to_be_visible()
    assert (await stranger.api.get("/webhooks"))["items"] == []


async def test_a_tab_is_of_whoever_signed_in_last(page, stranger):
    other = await page.context.new_page()
    await other.goto(f"/sign-in#{stranger.token}")
    await other.get_by_role("button", name="Sign in with the link").click()

    for tab in (other, page):
        await expect(tab.get_by_role("banner")).to_contain_text(stranger.name)


async def test_a_tab_that_did_not_hear_of_it_does_nothing_for_another(page, stranger, page_errors, receiver):
    page_errors.expect("status of 409")
    add = await filled_in(page, receiver)
    # As another tab does, but without a word to this one.
    await page.context.request.post("/api/v1/session", data={"token": stranger.token})
    await add.click()

    await expect(page.get_by_role("banner")).to_contain_text(stranger.name)
    assert (await stranger.api.get("/webhooks"))["items"] == []


async def test_a_file_comes_once_there_is_a_session_again(page, tenant, stack, page_errors):
    page_errors.expect("status of 401")
    await page.get_by_role("link", name="Records").click()
    template = page.get_by_role("link", name="Template CSV").first
    await expect(template).to_be_visible()
    templates = await page.get_by_role("link", name="Template CSV").count()
    await expect(page.get_by_text("0 records")).to_have_count(templates)
    await end_sessions(stack, tenant)

    async with page.expect_download() as downloading:
        await template.click()
        await sign_in_again(page, tenant)
    assert (await downloading.value).suggested_filename.endswith(".csv")


async def test_two_tabs_see_the_same_import_come(page, tenant):
    other = await page.context.new_page()
    await other.goto("/imports")
    await expect(other.get_by_role("heading", name="Imports")).to_be_visible()

    await tenant.imported("both.csv", BOOKS, "books")

    for tab in (page, other):
        row = tab.get_by_role("row").filter(has_text="both.csv")
        await expect(row).to_contain_text("Completed")


async def test_a_service_that_is_away_stops_nobody_and_is_seen_coming_back(page, tenant, stack, page_errors):
    page_errors.allow("status of 503|net::ERR_|status of 401")
    await tenant.imported("kept.csv", BOOKS, "books")

    stack.kill("notifier")
    await page.get_by_role("link", name="Webhooks").click()
    await expect(page.get_by_role("alert")).to_contain_text("It is tried again by itself")
    await page.get_by_role("link", name="Imports").click()
    await expect(page.get_by_role("link", name="kept.csv")).to_be_visible()
    await page.get_by_role("link", name="Webhooks").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await stack.started("notifier")
    await expect(page.get_by_role("alert")).to_have_count(0, timeout=30_000)

    await page.get_by_role("link", name="Imports").click()
    await expect(page.get_by_role("link", name="kept.csv")).to_be_visible()
    stack.kill("results")
    await page.get_by_label("File name").fill("kept")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_role("link", name="kept.csv")).to_be_visible()
    await stack.started("results")
    await expect(page.get_by_role("alert")).to_have_count(0, timeout=30_000)

    done = await tenant.imported("after.csv", BOOKS.replace("9783789129407", "9783446431157"), "books")
    await page.get_by_label("File name").fill("")
    await expect(page.get_by_role("row").filter(has_text="after.csv")).to_contain_text(
        "Completed", timeout=30_000
    )
    assert done["rows_processed"] == 2
