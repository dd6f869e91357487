"""Suppliers in the console: added, changed, removed, by hand and from a file; when their files come."""

import re
from datetime import timedelta

from playwright.async_api import Locator, Page, expect

from tests.console.browsing import axe, fits, screenshot
from tests.console.pipelines import add_suppliers, bad_file, error, good_file, log, yesterday
from tests.e2e.stack import until

PHONE = {"width": 390, "height": 844}


def dialog(page: Page, name: str) -> Locator:
    return page.get_by_role("dialog", name=name)


def rows(page: Page, table: str) -> Locator:
    return (
        page.get_by_role("table", name=table, exact=True)
        .get_by_role("row")
        .filter(has=page.get_by_role("cell"))
    )


async def test_a_supplier_is_added_changed_and_removed(page, tenant, page_errors):
    page_errors.expect("status of 422")
    page_errors.expect("status of 409")
    await log(tenant, error("who is this?", supplier="eu/north"))

    # When one is added whose events wait
    await page.goto("/suppliers")
    await expect(page.get_by_text("1 event of eu/north")).to_be_visible()
    assert await axe(page) == []
    await page.get_by_role("button", name="Add").first.click()
    adding = dialog(page, "Add a supplier")
    await adding.get_by_role("button", name="Add").click()
    await expect(adding.get_by_label("Id")).to_have_accessible_description(re.compile("at least 1 character"))
    assert await axe(page) == []
    await page.keyboard.press("Escape")
    await page.get_by_role("alert").or_(page.locator(".notice")).get_by_role("button", name="Add").click()
    await expect(adding.get_by_label("Id")).to_have_value("eu/north")
    await adding.get_by_label("Name").fill("North Ltd")
    await adding.get_by_label("Partner").fill("The Group")
    await adding.get_by_role("button", name="Add").click()

    # Then its page is shown, and its events are logged
    await expect(page.get_by_role("heading", name="North Ltd")).to_be_visible()
    await expect(page.get_by_text("1 event that waited logged")).to_be_visible()
    [found] = (await tenant.api.get("/suppliers"))["items"]
    assert (found["id"], found["name"], found["partner"], found["enabled"]) == (
        "eu/north",
        "North Ltd",
        "The Group",
        True,
    )
    await expect(rows(page, "Investigations")).to_contain_text("who is this?")
    await page.reload()
    await expect(page.get_by_role("heading", name="North Ltd")).to_be_visible()

    # When the same is added again, it is said; when it is changed, it is shown
    await page.goto("/suppliers")
    await page.get_by_role("button", name="Add").click()
    await adding.get_by_label("Id").fill("eu/north")
    await adding.get_by_label("Name").fill("Again")
    await adding.get_by_role("button", name="Add").click()
    await expect(adding.get_by_role("alert")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.get_by_role("link", name="North Ltd").click()
    await page.get_by_role("button", name="Edit").click()
    editing = dialog(page, "Edit supplier")
    await editing.get_by_label("Name").fill("North & Sons")
    await editing.get_by_label("Partner").fill("")
    await editing.get_by_label("Files are expected").uncheck()
    assert await axe(page) == []
    await editing.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", name="North & Sons")).to_be_visible()
    changed = await tenant.api.get("/suppliers/eu%2Fnorth")
    assert (changed["name"], changed["partner"], changed["enabled"]) == ("North & Sons", None, False)

    # When it is removed, that is asked first
    await page.get_by_role("button", name="Remove").click()
    await dialog(page, "Remove North & Sons?").get_by_role("button", name="Cancel").click()
    assert len((await tenant.api.get("/suppliers"))["items"]) == 1
    await page.get_by_role("button", name="Remove").click()
    removing = dialog(page, "Remove North & Sons?")
    await expect(removing).to_contain_text("investigations stay")
    assert await axe(page) == []
    await removing.get_by_role("button", name="Remove").click()
    await expect(page.get_by_role("heading", name="No supplier is known yet")).to_be_visible()
    assert (await tenant.api.get("/suppliers"))["items"] == []


async def test_a_csv_file_is_tried_first_and_then_done(page, tenant):
    await add_suppliers(tenant, {"id": "a", "name": "Alpha"}, {"id": "b", "name": "Beta"})
    file = tenant.file(
        "suppliers.csv", "id;name;partner;active\na;Alpha AG;Group;yes\nb;Beta;;\nc;Gamma;;no\n;Nobody;;\n"
    )
    await page.goto("/suppliers")
    await page.get_by_role("button", name="From a CSV file").click()
    choosing = dialog(page, "Suppliers from a CSV file")
    await expect(choosing.get_by_role("button", name="Add and change them")).to_be_disabled()
    await choosing.get_by_label("File").set_input_files(file)

    # Then what would change is told, and nothing has
    await expect(choosing.get_by_role("status")).to_contain_text("1 added, 1 changed, 1 unchanged, 1 refused")
    await expect(choosing).to_contain_text("Line 5")
    assert await axe(page) == []
    await screenshot(page, "suppliers-csv")
    assert [each["name"] for each in (await tenant.api.get("/suppliers"))["items"]] == ["Alpha", "Beta"]

    await choosing.get_by_role("button", name="Add and change them").click()
    await expect(rows(page, "Suppliers")).to_have_count(3)
    await expect(page.get_by_role("link", name="Alpha AG")).to_be_visible()
    found = (await tenant.api.get("/suppliers"))["items"]
    assert [(each["id"], each["name"], each["enabled"]) for each in found] == [
        ("a", "Alpha AG", True),
        ("b", "Beta", True),
        ("c", "Gamma", False),
    ]

    # And the list is filtered
    await page.get_by_label("Files expected").select_option("No")
    await expect(rows(page, "Suppliers")).to_have_count(1)
    await page.get_by_label("Files expected").select_option("Any")
    await expect(rows(page, "Suppliers")).to_have_count(3)
    await page.get_by_label("Search").fill("alph")
    await expect(rows(page, "Suppliers")).to_have_count(1)
    await page.reload()
    await expect(page.get_by_label("Search")).to_have_value("alph")
    await page.get_by_label("Search").fill("")
    await page.get_by_label("Partner").fill("Group")
    await expect(rows(page, "Suppliers")).to_contain_text("Alpha AG")
    await page.get_by_label("Partner").fill("None such")
    await expect(page.get_by_role("heading", name="No suppliers match these filters")).to_be_visible()


async def test_a_calendar_tells_what_came_and_what_did_not(windows, tenant):
    # Given a supplier with a file a day, then a failed one, then none
    await add_suppliers(tenant, {"id": "daily", "name": "Daily Ltd"})
    before = yesterday()
    days = [before - timedelta(days=back) for back in range(40)]
    await log(
        tenant,
        *[good_file("daily", day, rows=1000 + index) for index, day in enumerate(days[3:])],
        bad_file("daily", days[2]),
    )
    answer = await tenant.api.post("/jobs/daily-analysis/runs", {"date": str(before)})
    assert answer.status_code == 202

    async def analysed() -> bool:
        return bool((await tenant.api.get("/jobs/daily-analysis/runs", status="succeeded"))["items"])

    await until(analysed, 30)

    def said(back: int) -> str:
        return f"{days[back].day} {days[back]:%b}: "

    for name, options in (
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": PHONE}),
    ):
        page = await windows.signed_in(tenant.token, **options)
        await page.goto("/suppliers/daily")

        # Then each day says so in words, the numbers can be read, and what the analysis found is there
        calendar = page.get_by_role("region", name="Days")
        await expect(calendar.get_by_role("cell", name=said(0) + "expected, did not come")).to_have_count(1)
        await expect(
            calendar.get_by_role("cell", name=said(2) + "failed; 1 file, 1 error, File read")
        ).to_have_count(1)
        await expect(
            calendar.get_by_role("cell", name=said(5) + "files came; 1 file, 1,002 records")
        ).to_have_count(1)
        await expect(page.get_by_role("heading", name="Analysed for")).to_contain_text("Fail")
        await expect(page.get_by_role("main")).to_contain_text("no good file since")
        await page.get_by_text("Evidence").first.click()
        await expect(page.get_by_role("main")).to_contain_text("usual_gap")
        await expect(page.get_by_role("main").get_by_text("Consistent")).to_be_visible()
        assert await axe(page) == []
        assert await fits(page), "it scrolls sideways"
        await screenshot(page, f"supplier-{name}")

    await page.get_by_text("Numbers", exact=True).click()
    await expect(rows(page, "Numbers of days")).to_have_count(38)

    # And its files have filters and pages
    page = await windows.signed_in(tenant.token)
    await page.goto("/suppliers/daily")
    await expect(rows(page, "Files")).to_have_count(12)
    await page.get_by_role("button", name="Next").click()
    await expect(rows(page, "Files").first).to_contain_text(str(days[14]))
    await page.get_by_label("Status").select_option("Failed")
    await expect(rows(page, "Files")).to_have_count(1)
    await page.get_by_label("Status").select_option("Any")
    await page.get_by_label("From day").fill(str(days[6]))
    await page.get_by_label("To day").fill(str(days[4]))
    await expect(rows(page, "Files")).to_have_count(3)
