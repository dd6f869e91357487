"""The pages of imports: the list, what became of a file, and every way on from there, down to the database."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.console.browsing import arrived, axe, fits, screenshot
from tests.console.origin import Tenant

EVIL = "<img src=x onerror=window.pwned=1>"
HEAD = "title,author,isbn,publication_year\n"
GOOD = "Momo,Michael Ende,978-3-522-17750-4,1973\n"
BAD = "Jim Knopf,Michael Ende,978-3-522-17650-0,1960\nNobody,,9783551551672,1998\nOld,X,9783551551689,999\n"


async def shown(page: Page, import_id: str) -> None:
    await page.goto(f"/imports/{import_id}")
    await expect(page.get_by_role("heading", name="How the file is read")).to_be_visible()


async def uploaded(page: Page) -> str:
    """The id of the import whose page has come."""
    return await arrived(page, page.url)


def errors(page: Page) -> Locator:
    return page.get_by_role("table", name="Row errors").locator("tbody tr")


async def books_of(tenant: Tenant) -> list[str]:
    rows = await tenant.api.rows("SELECT title FROM data.books WHERE tenant = $1 ORDER BY title", tenant.name)
    return [row["title"] for row in rows]


async def test_the_list_shows_what_comes_without_a_reload_and_filters_it(page, tenant):
    await expect(page.get_by_role("heading", name="Drag a file here")).to_be_visible()
    async with page.expect_download() as template:
        await page.get_by_role("link", name="Books", exact=True).click()
    assert Path(await (await template.value).path()).read_text().startswith(HEAD)
    assert await axe(page) == []
    await screenshot(page, "imports-empty")

    first = await tenant.imported("first.csv", HEAD + GOOD, "books", source="Library")
    row = page.get_by_role("row", name="first.csv")
    await expect(row).to_contain_text("Completed")
    await expect(row.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("Inserted: 1, Updated: 0")
    )

    # Nothing moves away under the hand that is about to click.
    await row.hover()
    await tenant.imported("second.csv", HEAD + BAD, "books")
    news = page.get_by_role("button", name="Show 1 new import")
    await expect(news).to_be_visible()
    await expect(page.get_by_role("row", name="second.csv")).to_have_count(0)
    await news.click()
    await expect(page.get_by_role("row", name="second.csv")).to_contain_text("3 row errors")

    await page.get_by_label("Source").fill("Library")
    await expect(page.get_by_role("row", name="second.csv")).to_have_count(0)
    assert "source=Library" in page.url
    await page.reload()
    await expect(page.get_by_role("row", name="first.csv")).to_be_visible()
    await expect(page.get_by_role("row", name="second.csv")).to_have_count(0)
    await page.get_by_label("Status").select_option("failed")
    await expect(page.get_by_role("heading", name="No import is like this")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()
    await page.get_by_label("From").fill("2000-01-01")
    await page.get_by_label("File name").fill("FIRST")
    await expect(page.get_by_role("row", name="second.csv")).to_have_count(0)
    await page.get_by_label("To", exact=True).fill("2000-01-02")
    await expect(page.get_by_role("heading", name="No import is like this")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()

    await page.get_by_role("link", name="first.csv").click()
    await expect(page).to_have_url(re.compile(first["id"]))
    await expect(page.get_by_role("heading", name="How the file is read")).to_be_visible()
    await expect(page.get_by_role("heading", level=1)).to_be_focused()


async def test_an_overwritten_duplicate_is_no_row_error(page, tenant):
    await tenant.imported("products.csv", "sku,name\nP-1,Pump\np-1,Pump 2\n,None\n", "products")
    await expect(page.get_by_role("row", name="products.csv")).to_contain_text("3 records · 1 row error")
    # Where a duplicate is rejected it is one; and the list says the same of what it heard and what it loads.
    await tenant.imported("books.csv", HEAD + GOOD + GOOD, "books")
    await expect(page.get_by_role("row", name="books.csv")).to_contain_text("2 records · 1 row error")
    await page.reload()
    await expect(page.get_by_role("row", name="products.csv")).to_contain_text("3 records · 1 row error")
    await expect(page.get_by_role("row", name="books.csv")).to_contain_text("2 records · 1 row error")


async def test_row_errors_are_explained_corrected_and_gone(page, tenant, windows):
    book = await tenant.imported("books.csv", HEAD + GOOD + BAD, "books", source="Library")
    await shown(page, book["id"])
    await expect(
        page.get_by_text("4 records read, each of them counted once: the books balance.")
    ).to_be_visible()
    await expect(errors(page)).to_have_count(3)
    assert await axe(page) == []
    await screenshot(page, "import")

    # By cause, and from there to the row errors of it.
    cause = page.get_by_role("button", name="Value missing in author")
    await cause.click()
    await expect(errors(page)).to_have_count(1)
    await expect(cause).to_have_attribute("aria-pressed", "true")
    assert "code=value_missing" in page.url
    await page.get_by_label("Text").fill("no such text")
    await expect(page.get_by_role("heading", name="No row error is like this")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()
    await expect(errors(page)).to_have_count(3)

    # The record in the file, between its neighbours.
    await page.get_by_role("button", name="Record 3", exact=True).click()
    dialog = page.get_by_role("dialog", name="Record 3")
    await expect(dialog.get_by_role("row", name="author")).to_have_text("authorMichael Ende (row error)X")
    await expect(dialog.get_by_role("columnheader")).to_have_text(["Column", "Line 3", "Line 4", "Line 5"])
    await expect(dialog.get_by_role("region", name="The record as it stands in the file")).to_have_text(
        "Nobody,,9783551551672,1998"
    )
    assert "row=3" in page.url
    assert await axe(page) == []
    await screenshot(page, "import-record")
    await page.keyboard.press("Escape")
    await expect(page).not_to_have_url(re.compile("row="))
    await page.goto(f"/imports/{book['id']}?row=2")  # as a link from a record leads here
    await expect(page.get_by_role("dialog", name="Record 2")).to_contain_text("check digit")
    await page.keyboard.press("Escape")

    # What is known beside: the receipt is what the API signs.
    async with page.expect_download() as receipt:
        await page.get_by_role("link", name="Download", exact=True).click()
    signed = json.loads(Path(await (await receipt.value).path()).read_text())
    assert signed == await tenant.api.get(f"/imports/{book['id']}/receipt")
    await expect(page.get_by_text(signed["signature"]["value"]).first).to_be_visible()
    await expect(
        page.get_by_text("A record holds the names of the dataset's columns.", exact=True)
    ).to_be_visible()
    async with page.expect_download() as original:
        await page.get_by_role("link", name="Original file").click()
    assert Path(await (await original.value).path()).read_text() == HEAD + GOOD + BAD

    # Down, mended, and up again.
    async with page.expect_download() as download:
        await page.get_by_role("link", name="errors.csv").click()
    rows = list(csv.DictReader(Path(await (await download.value).path()).read_text().splitlines()))
    mended = {"isbn": "9783522176507"}, {"author": "Somebody"}, {"publication_year": "1999"}
    path = tenant.folder / "mended.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | change for row, change in zip(rows, mended, strict=True))
    await page.get_by_role("button", name="Upload the corrected file").click()
    dialog = page.get_by_role("dialog", name="Upload the corrected file")
    await expect(dialog.get_by_label("Dataset")).to_have_count(0)
    assert await axe(page) == []
    await dialog.get_by_label("Files").set_input_files(str(path))
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await uploaded(page)
    await expect(page.get_by_text("3 records read")).to_be_visible()

    before = await tenant.api.get(f"/imports/{book['id']}")
    assert (before["errors_open"], before["rows_corrected"]) == (0, 3)
    assert await books_of(tenant) == ["Jim Knopf", "Momo", "Nobody", "Old"]
    await page.get_by_role("listitem").filter(has_text="Corrects").get_by_role("link").click()
    await expect(page.get_by_text("All of its row errors are corrected")).to_be_visible()
    await page.get_by_label("Status").select_option("fixed")
    await expect(errors(page)).to_have_count(3)
    await expect(page.get_by_role("button", name="Upload the corrected file")).to_have_count(0)


async def test_a_dry_run_says_what_would_happen_and_then_does_it(page, tenant):
    run = await tenant.imported(
        "dry.csv", HEAD + GOOD, "books", source="Library", dry_run="true", delimiter="comma"
    )
    await shown(page, run["id"])
    await expect(page.get_by_text("A dry run: nothing was loaded")).to_be_visible()
    assert await books_of(tenant) == []

    await page.get_by_role("button", name="Import it now").click()
    found = await tenant.api.finished(await uploaded(page))

    assert (found["dry_run"], found["source"], found["rows_inserted"]) == (False, "Library", 1)
    assert found["sha256"] == run["sha256"]
    assert found["explanation"]["given"] == ["delimiter"]
    assert await books_of(tenant) == ["Momo"]
    await expect(page.get_by_text("1 record read, each of them counted once")).to_be_visible()


async def test_a_running_import_is_cancelled_and_a_failed_one_goes_on(page, tenant, stack):
    stack.kill("processor")
    file = tenant.folder / "long.csv"
    with file.open("w") as lines:
        lines.write("sku,name,description\n")
        lines.writelines(f"P-{number:06},Pump {number},{'x' * 100}\n" for number in range(150_000))
    accepted = await tenant.api.upload(file, "products")
    await shown(page, accepted["id"])
    await expect(page.get_by_text("Waits for its turn")).to_be_visible()

    await page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel this import?")
    await expect(dialog).to_contain_text("What is loaded already stays")
    assert await axe(page) == []
    await dialog.get_by_role("button", name="Cancel the import").click()
    await expect(dialog).to_be_hidden()
    # The broker may bring the cancel later than such a file takes to load.
    stored = stack.stored(accepted["id"])
    away = stored.rename(f"{stored}.away")
    await stack.started("processor")
    await expect(page.get_by_text("This import was cancelled")).to_be_visible(timeout=30_000)
    away.rename(stored)
    assert (await tenant.api.get(f"/imports/{accepted['id']}"))["status"] == "cancelled"

    # It is not tried again, but may be uploaded once more, with nothing to choose.
    stack.kill("processor")
    await page.get_by_role("button", name="Upload it again").click()
    await page.get_by_role("dialog").get_by_role("button", name="Upload", exact=True).click()
    again = await uploaded(page)
    stored = stack.stored(again)
    whole = Path(shutil.copyfile(stored, f"{stored}.whole"))
    os.truncate(stored, stored.stat().st_size * 3 // 5)
    await stack.started("processor")
    await expect(page.get_by_role("alert")).to_contain_text("Retry", timeout=30_000)
    assert await axe(page) == []
    await screenshot(page, "import-failed")
    whole.replace(stored)
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(page.get_by_text("150,000 records read, each of them counted once")).to_be_visible(
        timeout=60_000
    )
    await expect(page.get_by_text(", run 2")).to_be_visible()

    [(count,)] = await tenant.api.rows("SELECT count(*) FROM data.products WHERE tenant = $1", tenant.name)
    assert count == 150_000


async def test_too_many_row_errors_fail_it_and_other_limits_let_it_through(page, tenant):
    failed = await tenant.imported("limit.csv", HEAD + GOOD + BAD, "books", max_rejected="1")
    await shown(page, failed["id"])
    await expect(page.get_by_role("alert")).to_contain_text("Mend the file or raise the limit")
    assert await books_of(tenant) == []

    await page.get_by_role("button", name="Upload it again").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("More", exact=True).click()
    await expect(dialog.get_by_label("Most records with row errors")).to_have_value("1")
    await dialog.get_by_label("Most records with row errors").fill("3")
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await tenant.api.finished(await uploaded(page))

    assert await books_of(tenant) == ["Momo"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_partners_write_stays_text_at_any_width(windows, tenant, scheme):
    text = f"{EVIL},{EVIL}x,isbn,title,author,publication_year\n{EVIL},b,{EVIL},{EVIL},\u202egnp.{EVIL},{'9' * 5000}\n"
    text += f'a,b,978-3-522-17750-4,{"W" * 9000},c,1\n"line one\nline two",b,{EVIL}\n'
    evil = await tenant.imported(f"{EVIL}.csv".replace("/", ""), text, "books", source=EVIL)
    page = await windows.signed_in(tenant.token, color_scheme=scheme, viewport={"width": 390, "height": 844})
    await expect(page.get_by_role("link", name=EVIL)).to_be_visible()
    assert await fits(page)
    assert await axe(page) == []
    await screenshot(page, f"imports-{scheme}-phone")

    await shown(page, evil["id"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text(EVIL)
    await expect(errors(page).first).to_be_visible()
    assert await fits(page)
    assert await axe(page) == []
    await screenshot(page, f"import-{scheme}-phone")
    for row in (1, 2, 3):
        await page.get_by_role("button", name=f"Record {row}", exact=True).first.click()
        dialog = page.get_by_role("dialog", name=f"Record {row}")
        await expect(dialog.get_by_role("rowheader", name=EVIL).first).to_be_visible()
        await expect(dialog.get_by_text("(row error)").first).to_be_attached()
        assert await axe(page) == []
        await page.keyboard.press("Escape")
    await expect(page.locator("img")).to_have_count(0)
    assert await page.evaluate("window.pwned") is None


async def test_another_tenants_import_is_not_there(page, page_errors):
    page_errors.expect("status of 404")
    await page.goto("/imports/00000000-0000-4000-8000-000000000000")

    await expect(page.get_by_role("alert")).to_contain_text("there is no import")
    assert await axe(page) == []


async def test_what_is_not_kept_any_more_is_said_and_not_offered(page, tenant, page_errors):
    imported = await tenant.imported("books.csv", HEAD + GOOD + BAD, "books")
    await shown(page, imported["id"])
    for label in ("Original file", "errors.csv"):
        await expect(page.get_by_role("link", name=label)).to_be_visible()

    async def remove(table: str, column: str) -> None:
        await tenant.api.rows(
            f"UPDATE {table}.imports SET {column} = '2026-02-01' WHERE tenant = $1 RETURNING import_id",
            tenant.name,
        )

    await remove("upload", "file_removed_at")
    await page.reload()
    await page.get_by_role("button", name="Record 2", exact=True).first.click()
    dialog = page.get_by_role("dialog", name="Record 2")
    await expect(dialog).to_contain_text("Its file is not kept any more")
    await expect(dialog.get_by_role("region", name="The record as it came")).to_have_text(BAD.splitlines()[0])
    await page.keyboard.press("Escape")

    await remove("processor", "errors_removed_at")
    page_errors.expect("410")
    await page.reload()
    await expect(page.get_by_text("Its file is not kept any more")).to_be_visible()
    await expect(
        page.get_by_text("Its row errors are not kept any more, but for their numbers")
    ).to_be_visible()
    await expect(page.get_by_role("heading", name="Row errors by cause")).to_be_visible()
    for role, label in (
        ("link", "Original file"),
        ("link", "errors.csv"),
        ("button", "Upload the corrected file"),
    ):
        await expect(page.get_by_role(role, name=label)).to_have_count(0)
    await expect(errors(page)).to_have_count(0)
    await expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    assert await axe(page) == []
