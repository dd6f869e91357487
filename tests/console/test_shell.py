"""What is around every page of the console: coming in, going out, and what a browser is told to forbid."""

import re
from urllib.parse import quote, urlsplit

import httpx
import pytest
from playwright.async_api import expect

from services.results.console.assets import read_assets
from tests.console.browsing import axe, fits, screenshot
from tests.console.origin import new_tenant

MOST_BYTES = 150_000


async def test_a_link_with_the_token_signs_in_and_no_page_or_storage_has_it_then(page, tenant):
    await expect(page.get_by_role("banner")).to_contain_text(tenant.name)
    assert urlsplit(page.url).path == "/imports"
    assert tenant.token not in page.url
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert tenant.token not in kept
    await page.go_back()
    assert tenant.token not in page.url


async def test_a_link_does_not_change_who_is_signed_in_unasked(page, tenant, whole_stack, tmp_path):
    async with new_tenant(whole_stack, tmp_path) as other:
        await page.goto("about:blank")
        await page.goto(f"/sign-in#{other.token}")
        await expect(page.get_by_role("main")).to_contain_text(f"You are signed in to {tenant.name}")
        assert await axe(page) == []
        await page.get_by_role("link", name="Stay").click()
        await expect(page.get_by_role("banner")).to_contain_text(tenant.name)

        await page.goto("about:blank")
        await page.goto(f"/sign-in#{other.token}")
        await page.get_by_role("button", name="Sign in with the link").click()
        await expect(page.get_by_role("banner")).to_contain_text(other.name)


async def test_the_session_is_a_cookie_that_no_script_and_no_other_site_has(page):
    [cookie] = await page.context.cookies()

    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert await page.evaluate("document.cookie") == ""


async def test_a_token_may_be_typed_in_and_a_wrong_one_is_told(windows, page_errors, tenant):
    page_errors.expect("status of 401")
    page = await windows.open()
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    await page.get_by_label("API key or token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "sign-in-refused")

    await page.get_by_label("API key or token").fill(tenant.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("banner")).to_contain_text(tenant.name)


async def test_whoever_was_not_signed_in_comes_where_the_link_pointed_to(windows, page_errors, tenant):
    page_errors.expect("status of 401")
    page = await windows.open()
    await page.goto("/imports?status=failed")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    await page.get_by_label("API key or token").fill(tenant.token)
    await page.get_by_role("button", name="Sign in").click()

    await expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    assert page.url.endswith("/imports?status=failed")


@pytest.mark.parametrize(
    "path", ["/.//evil.example/x", "{origin}//evil.example/x", "http://[", "//evil.example"]
)
async def test_signing_in_leads_to_no_other_site(windows, stack, tenant, path):
    page = await windows.open()
    await page.goto(f"/sign-in?next={quote(path.format(origin=stack.address))}#{tenant.token}")

    await expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    assert page.url.startswith(f"{stack.address}/")


async def test_signing_out_ends_the_session_itself(page, page_errors, stack):
    [cookie] = await page.context.cookies()

    await page.get_by_role("button", name="Sign out").click()

    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await page.context.cookies() == []
    async with httpx.AsyncClient(cookies={cookie["name"]: cookie["value"]}, trust_env=False) as thief:
        assert (await thief.get(stack.url("/session"))).status_code == 401
    page_errors.expect("status of 401")
    await page.goto("/imports")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_the_shell_is_for_everybody(windows, tenant, scheme, width):
    size = {"width": width, "height": 800}
    page = await windows.signed_in(tenant.token, color_scheme=scheme, viewport=size)

    assert await axe(page) == []
    await screenshot(page, f"shell-{scheme}-{width}")
    assert await fits(page), "it scrolls sideways"


async def test_a_session_begins_where_it_may_do_something(windows, tenant):
    token = tenant.token_for("webhooks:admin")
    page = await windows.signed_in(token)

    assert urlsplit(page.url).path == "/webhooks"
    sections = page.get_by_role("navigation", name="Main").get_by_role("link")
    await expect(sections).to_have_text(["Webhooks", "System"])


async def test_back_comes_to_the_place_that_was_left(page, tenant):
    products = "".join(f"P-{number},Product {number}\n" for number in range(120))
    await tenant.imported("many.csv", f"sku,name\n{products}", "products")
    await page.get_by_role("link", name="Records").click()
    await page.get_by_role("link", name="Products").click()
    following = page.get_by_role("button", name="Next")
    await following.press("Enter")
    await expect(page.get_by_text("Page 2 ·")).to_be_visible()
    await expect(following).to_be_focused()
    await expect(page.get_by_text("Page 2, 50 results")).to_have_count(1)  # said to screen readers

    await page.evaluate("scrollTo(0, 700)")
    await page.get_by_role("link", name="Webhooks").click()
    await expect(page.get_by_role("heading", name="Webhooks", exact=True)).to_be_visible()
    assert await page.evaluate("scrollY") == 0
    await page.go_back()

    await expect(page.get_by_text("Page 2 ·")).to_be_visible()
    assert await page.evaluate("scrollY") == 700


async def test_what_was_begun_on_a_page_is_not_on_the_next_one(page):
    await page.get_by_role("link", name="Webhooks").click()
    await page.get_by_role("button", name="Add").first.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Imports")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)

    await page.get_by_label("Source").fill("half typed")
    await page.get_by_role("link", name="Records").click()
    await expect(page.get_by_role("heading", name="Records", exact=True)).to_be_visible()
    await page.get_by_role("link", name="Products").click()
    await expect(page.get_by_role("heading", name="Products")).to_be_visible()
    assert urlsplit(page.url).query == ""


async def test_the_link_to_the_content_leads_there(page):
    await page.get_by_role("link", name="Skip to content").press("Enter")

    await expect(page.get_by_role("main")).to_be_focused()


async def test_a_message_over_a_dialog_can_be_read_and_put_away(page):
    await page.goto("/system")
    await page.get_by_role("button", name="New API key").click()
    await page.get_by_label("Name").fill("of a test")
    await page.get_by_role("dialog").get_by_label("records:read").check()
    await page.get_by_role("dialog").get_by_role("button", name="Make").click()
    dialog = page.get_by_role("dialog").filter(has_text="Copy the key now")
    await dialog.get_by_role("button", name="Copy the key").click()

    await dialog.get_by_role("button", name="Put away").click()
    await expect(page.get_by_role("button", name="Put away")).to_have_count(0)


async def test_words_are_english_wherever_the_browser_is_from(windows, tenant):
    await tenant.imported("one.csv", "sku,name\nA,B\n", "products")
    page = await windows.signed_in(tenant.token, locale="de-DE")

    when = page.get_by_role("row").filter(has_text="one.csv").locator("time")
    await expect(when).to_have_attribute("title", re.compile(r"day, \d+ \w+ \d+ at "))


async def test_the_chosen_theme_is_there_before_the_console(page, page_errors):
    for _ in range(2):
        await page.get_by_role("button", name="Appearance").click()
    page_errors.expect("net::ERR_FAILED")
    await page.route("**/main.js", lambda route: route.abort())
    await page.reload()

    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_a_page_whose_module_did_not_come_comes_later(page, page_errors):
    page_errors.allow("net::ERR_FAILED")
    await page.route("**/pages/system.js", lambda route: route.abort())
    await page.get_by_role("link", name="System").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.unroute("**/pages/system.js")

    await expect(page.get_by_role("heading", name="System")).to_be_visible()


async def test_an_address_that_is_none_says_so(page):
    await page.goto("/imports/1/2/3")

    await expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()
    assert await axe(page) == []


async def test_the_browser_is_told_to_run_nothing_but_our_own_files(windows, stack):
    page = await windows.open()
    answer = await page.goto("/sign-in")

    policy = directives(answer.headers["content-security-policy"])
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] in {"no-referrer", "same-origin"}


async def test_the_browser_does_forbid_it(windows, page_errors):
    page_errors.expect("TrustedHTML")
    page_errors.expect("inline style")
    page = await windows.open()
    await page.goto("/sign-in")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    refused = await page.evaluate("""() => {
        document.body.setAttribute("style", "color: red");
        try { document.body.innerHTML = "<b>markup</b>"; } catch (error) { return error.name; }
    }""")

    assert refused == "TypeError"


async def test_scripts_and_styles_of_the_first_page_weigh_little(page):
    weights = await page.evaluate("""() => performance.getEntriesByType("resource")
        .filter(({name}) => /\\.(js|css)$/.test(name)).map(({decodedBodySize}) => decodedBodySize)""")

    assert len(weights) > 10
    assert all(weights)
    assert sum(weights) < MOST_BYTES


def test_all_scripts_and_styles_as_they_are_sent_weigh_little():
    files = [file for name, file in read_assets().files.items() if name.endswith((".js", ".css"))]

    assert len(files) > 10
    assert sum(len(file.zipped) for file in files) < MOST_BYTES


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";") if part.strip())}
