"""The console's pages of records, from the click to the database."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.console.browsing import axe, fits, screenshot
from tests.console.origin import Tenant

EVIL = '<img src=x onerror="window.pwned=1">'
PRODUCTS = "sku,name,description,price,stock_quantity\n" + "".join(
    f"P-{number:03},Lamp {number:03},{'' if number % 2 else 'It shines.'},{number}.50,{number}\n"
    for number in range(1, 61)
)
SALES = (
    "transaction_id;sold_at;sku;customer_name;quantity;unit_price\n"
    f"S-1;2024-03-04;P-1;J\u00f8rstad;2;10.00\nS-2;2024-03-05;P-2;{EVIL.replace(chr(34), '')};1;7.25\n"
)


async def shown(page: Page, dataset: str, query: str = "") -> None:
    await page.goto(f"/records/{dataset}{query}")
    await expect(page.get_by_role("table")).to_be_visible()


async def first_cells(page: Page) -> list[str]:
    return await page.get_by_role("table").locator("tbody tr > td:first-child").all_inner_texts()


async def add_filter(page: Page, column: str, condition: str, value: str) -> None:
    await page.get_by_role("button", name="Add a filter").click()
    form = page.get_by_role("form", name="New filter")
    await form.get_by_label("Column").select_option(label=column)
    await form.get_by_label("Condition").select_option(label=condition)
    field = form.get_by_label("Value")
    if await field.evaluate("field => field.tagName") == "SELECT":
        await field.select_option(label=value)
    else:
        await field.fill(value)
    await form.get_by_role("button", name="Add").click()


async def take_out(page: Page, chip: str) -> None:
    await page.get_by_role("group", name="Filters").get_by_role("button", name=chip).click()


async def product(tenant: Tenant, sku: str) -> dict[str, Any] | None:
    """What the database has."""
    rows = await tenant.api.rows(
        "SELECT * FROM data.products WHERE tenant = $1 AND lower(sku) = lower($2)", tenant.name, sku
    )
    return dict(rows[0]) if rows else None


async def is_fit(page: Page) -> None:
    assert await axe(page) == []
    assert await fits(page), "it scrolls sideways"


async def test_datasets_say_what_a_file_looks_like_and_what_they_hold(page, tenant):
    await tenant.imported("products.csv", PRODUCTS, "products")
    await page.get_by_role("link", name="Records").click()

    products = page.locator("section", has=page.get_by_role("heading", name="Products"))
    await expect(products).to_contain_text("60 records")
    await expect(products).to_contain_text("overwrites")
    await products.get_by_text("6 columns").click()
    await expect(products.get_by_role("row", name="sku")).to_contain_text("required, unique, maxLength 255")
    await is_fit(page)
    await screenshot(page, "datasets")
    link = products.get_by_role("link", name="Template CSV")
    template = await (await page.request.get(await link.get_attribute("href"))).text()
    assert template.startswith("sku,name,description,price,stock_quantity\r\n")

    await products.get_by_role("link", name="Products").click()
    await expect(page.get_by_role("heading", name="Products", level=1)).to_be_visible()


async def test_a_list_is_paged_sorted_searched_and_filtered_and_its_address_says_so(page, tenant):
    await tenant.imported("products.csv", PRODUCTS, "products")
    await shown(page, "products")

    await expect(page.get_by_text("Page 1 · 60 products in all")).to_be_visible()
    assert (await first_cells(page))[0] == "P-001"
    await page.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("row")).to_have_count(11)
    assert (await first_cells(page))[-1] == "P-060"
    await page.get_by_role("button", name="Previous").click()
    await expect(page.get_by_role("row")).to_have_count(51)

    await page.get_by_role("columnheader", name="Price").get_by_role("button").click()
    await page.get_by_role("columnheader", name="Price").get_by_role("button").click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("P-060")
    await expect(page.get_by_role("columnheader", name="Price")).to_have_attribute("aria-sort", "descending")

    search = page.get_by_label("Search")
    await search.press_sequentially("lamp ")
    await expect(page).to_have_url(re.compile("search=lamp$"))
    await search.press_sequentially("05")
    await expect(search).to_have_value("lamp 05")
    await expect(page.get_by_text("10 products")).to_be_visible()
    await add_filter(page, "Price", "from", "52")
    await expect(page.get_by_text("8 products")).to_be_visible()
    await add_filter(page, "Description", "is empty", "Yes")
    await expect(page.get_by_text("4 products")).to_be_visible()
    assert await first_cells(page) == ["P-059", "P-057", "P-055", "P-053"]
    await is_fit(page)
    await screenshot(page, "records-filtered")

    await page.reload()
    await expect(page.get_by_text("4 products")).to_be_visible()
    assert await first_cells(page) == ["P-059", "P-057", "P-055", "P-053"]
    assert await exported(page, "CSV") == ["P-059", "P-057", "P-055", "P-053"]
    assert await exported(page, "NDJSON") == ["P-059", "P-057", "P-055", "P-053"]

    await take_out(page, "Price from 52")
    await expect(page.get_by_text("5 products")).to_be_visible()
    await add_filter(page, "SKU", "begins with", "nothing")
    await expect(page.get_by_role("heading", name="No products fit these filters")).to_be_visible()
    await is_fit(page)
    await page.get_by_role("button", name="Take the filters out").click()
    await expect(page.get_by_text("60 products in all")).to_be_visible()
    assert (await first_cells(page))[0] == "P-060", "the order stays"


async def exported(page: Page, kind: str) -> list[str]:
    """The keys in the file that the link gives."""
    async with page.expect_download() as download:
        await page.get_by_role("link", name=kind, exact=True).click()
    text = Path(await (await download.value).path()).read_text()
    rows = csv.DictReader(io.StringIO(text)) if kind == "CSV" else map(json.loads, text.splitlines())
    return [row["sku"] for row in rows]


async def test_filters_fit_the_type_of_the_column(page, page_errors, tenant):
    await tenant.imported("products.csv", PRODUCTS, "products")
    await tenant.api.http.patch(tenant.api.url("/records/products/p-007"), json={"active": False})
    await shown(page, "products")

    await add_filter(page, "Active", "is", "No")
    await expect(page.get_by_text("1 product", exact=True)).to_be_visible()
    assert await first_cells(page) == ["P-007"]
    assert await page.get_by_role("region", name="Products").evaluate(
        "frame => frame.scrollWidth <= frame.clientWidth"
    ), "no column is cut off"
    await take_out(page, "Active is no")
    await add_filter(page, "Created", "from", "2020-01-01")
    await expect(page.get_by_text("60 products in all")).to_be_visible()
    await take_out(page, "Created from 2020-01-01")
    await add_filter(page, "SKU", "is one of", "P-003, p-004")
    await expect(page.get_by_role("row")).to_have_count(2)
    await take_out(page, "SKU is one of P-003, p-004")

    page_errors.expect("status of 422")
    await add_filter(page, "Price", "below", "cheap")
    await expect(page.get_by_role("alert")).to_contain_text("'cheap' is no number")
    await take_out(page, "Price below cheap")
    await expect(page.get_by_role("alert")).to_have_count(0)

    await page.get_by_text("Columns", exact=True).click()
    await page.get_by_role("checkbox", name="Description").uncheck()
    await expect(page.get_by_role("columnheader", name="Description")).to_have_count(0)
    await page.reload()
    await expect(page.get_by_role("columnheader", name="Price")).to_be_visible()
    await expect(page.get_by_role("columnheader", name="Description")).to_have_count(0)


async def test_times_and_days_are_those_of_the_browser(windows, tenant):
    moments = ("2024-03-03T03:30:00Z", "2024-03-04T03:30:00Z", "2024-03-04T12:00:00Z", "2024-03-05T05:00:00Z")
    sales = [f"S-{number},{moment},P-1,1,2\n" for number, moment in enumerate(moments)]
    header = "transaction_id,sold_at,sku,quantity,unit_price\n"
    await tenant.imported("sales.csv", header + "".join(sales), "sales")
    page = await windows.signed_in(tenant.token, timezone_id="America/New_York")
    await shown(page, "sales")

    time = page.get_by_role("row", name="S-1").locator("time").first
    await expect(time).to_have_text("3 Mar 2024, 22:30")
    title = await time.get_attribute("title")
    assert re.fullmatch(r"Sunday.? 3 March 2024 at 22:30:00 \S+\n2024-03-04T03:30:00.000Z", title), title

    # From the beginning of a day there, and up to the end of one
    await add_filter(page, "Time of sale", "from", "2024-03-03")
    await expect(page.get_by_text("3 sales", exact=True)).to_be_visible()
    await add_filter(page, "Time of sale", "up to", "2024-03-04")
    await expect(page.get_by_text("2 sales", exact=True)).to_be_visible()
    assert sorted(await first_cells(page)) == ["S-1", "S-2"]
    await page.reload()
    await expect(page.get_by_text("2 sales", exact=True)).to_be_visible()
    await take_out(page, "Time of sale up to 2024-03-04")
    await expect(page.get_by_text("3 sales", exact=True)).to_be_visible()


async def test_a_record_is_created_edited_switched_and_deleted(page, page_errors, tenant):
    await page.goto("/records/products")
    await expect(page.get_by_role("heading", name="No products yet")).to_be_visible()
    await is_fit(page)

    page_errors.expect("status of 422")
    await page.get_by_role("button", name="New product").click()
    dialog = page.get_by_role("dialog", name="New product")
    await dialog.get_by_label("SKU").fill("WBH/1 a")
    await dialog.get_by_label("Price").fill("-3")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_text("Name is missing")).to_be_visible()
    await expect(dialog.get_by_label("Price")).to_have_accessible_description(
        re.compile("Price -3 is below 0")
    )
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await is_fit(page)
    await screenshot(page, "record-errors")
    await dialog.get_by_label("Name").fill("Headphones")
    await dialog.get_by_label("Price").fill("149.90")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("row", name="Headphones")).to_be_visible()
    made = await product(tenant, "WBH/1 a")
    assert (made["name"], str(made["price"]), made["active"]) == ("Headphones", "149.90", True)

    page_errors.expect("status of 409")
    await page.get_by_role("button", name="New product").click()
    await dialog.get_by_label("SKU").fill("wbh/1 A")
    await dialog.get_by_label("Name").fill("Another")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_text("there is a product 'wbh/1 a' already")).to_be_visible()
    await page.keyboard.press("Escape")

    await page.get_by_role("link", name="WBH/1 a").dblclick()
    editing = page.get_by_role("dialog", name="Edit product")
    await expect(editing.get_by_label("Price")).to_have_value("149.90")
    address = page.url
    await editing.get_by_label("Stock quantity").fill("12")
    await editing.get_by_label("Description").fill("Over-ear\nnoise cancelling")
    await editing.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("row", name="Headphones")).to_contain_text("12")
    assert (await product(tenant, "WBH/1 a"))["description"] == "Over-ear\nnoise cancelling"

    async with page.expect_response(lambda response: response.request.method == "PATCH"):
        await page.get_by_role("switch", name="Active: WBH/1 a").click()
    await page.reload()
    await expect(page.get_by_role("switch", name="Active: WBH/1 a")).not_to_be_checked()
    assert (await product(tenant, "WBH/1 a"))["active"] is False

    await page.goto(address)
    await expect(editing.get_by_label("Stock quantity")).to_have_value("12")
    await editing.get_by_role("button", name="Delete this product").click()
    await page.get_by_role("dialog", name="Delete product").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("heading", name="No products yet")).to_be_visible()
    assert await product(tenant, "WBH/1 a") is None
    assert "record=" not in page.url


async def test_what_another_tab_has_changed_is_not_lost(page, page_errors, tenant):
    page_errors.expect("status of 412")
    await tenant.imported("products.csv", PRODUCTS, "products")
    other = await page.context.new_page()
    editing = {}
    for tab in (page, other):
        await tab.goto("/records/products?record=p-001")
        editing[tab] = tab.get_by_role("dialog", name="Edit product")
        await expect(editing[tab].get_by_label("Name")).to_have_value("Lamp 001")

    async def save(tab: Page, button: str = "Save", **values: str) -> None:
        for label, value in values.items():
            await editing[tab].get_by_label(label).fill(value)
        await editing[tab].get_by_role("button", name=button).click()

    await save(other, Name="Torch")
    await expect(editing[other]).to_have_count(0)
    await save(page, Name="Candle", Price="2.00")
    await expect(editing[page].get_by_text("Somebody has changed this product meanwhile")).to_be_visible()
    await expect(editing[page].get_by_text("Now: Torch")).to_be_visible()
    await is_fit(page)
    await screenshot(page, "record-conflict")
    assert (await product(tenant, "P-001"))["name"] == "Torch"

    await editing[page].get_by_role("button", name="Take the new").click()
    await expect(editing[page].get_by_label("Name")).to_have_value("Torch")
    await expect(editing[page].get_by_label("Price")).to_have_value("2.00")
    await tenant.api.http.patch(tenant.api.url("/records/products/p-001"), json={"stock_quantity": 5})
    await save(page)
    await expect(editing[page].get_by_text("Now: 5")).to_be_visible()
    await save(page, "Save mine")
    await expect(editing[page]).to_have_count(0)
    kept = await product(tenant, "P-001")
    assert (kept["name"], str(kept["price"]), kept["stock_quantity"]) == ("Torch", "2.00", 5)


async def test_all_are_deleted_only_once_the_name_is_typed(page, tenant):
    await tenant.imported("products.csv", PRODUCTS, "products")
    await shown(page, "products", "?sku=P-001")

    await page.get_by_role("button", name="Delete all").click()
    dialog = page.get_by_role("dialog", name="Delete all products?")
    await expect(dialog).to_contain_text("60 records will be gone for good, whatever the filters show")
    button = dialog.get_by_role("button", name="Delete all")
    await dialog.get_by_label("Type products to confirm").fill("product")
    await expect(button).to_be_disabled()
    await is_fit(page)
    await dialog.get_by_label("Type products to confirm").fill("products")
    await button.click()

    await expect(page.get_by_text("60 records deleted")).to_be_visible()
    assert await product(tenant, "P-002") is None


async def test_an_edit_is_not_lost_while_the_processor_is_away(page, page_errors, stack, tenant):
    page_errors.expect("status of 503")
    await tenant.imported("products.csv", PRODUCTS, "products")
    await shown(page, "products", "?record=p-001")
    dialog = page.get_by_role("dialog", name="Edit product")
    await dialog.get_by_label("Name").fill("Torch")
    stack.kill("processor")

    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("nothing was changed")
    await expect(dialog.get_by_label("Name")).to_have_value("Torch")
    await stack.started("processor")
    await dialog.get_by_role("button", name="Save").click()

    await expect(dialog).to_have_count(0)
    assert (await product(tenant, "P-001"))["name"] == "Torch"


async def test_an_edit_whose_answer_was_lost_is_found_done(page, page_errors, tenant):
    for status in (504, 409, 412):
        page_errors.expect(f"status of {status}")
    losing = {"POST", "PATCH"}

    async def lose_answer(route):
        if route.request.method not in losing:
            return await route.continue_()
        losing.remove(route.request.method)
        await route.fetch()
        return await route.fulfill(status=504)

    await page.route("**/api/v1/records/products**", lose_answer)
    await page.goto("/records/products")
    await page.get_by_role("button", name="New product").click()
    for name in ("New product", "Edit product"):
        dialog = page.get_by_role("dialog", name=name)
        if name == "New product":
            await dialog.get_by_label("SKU").fill("P-1")
        await dialog.get_by_label("Name").fill(name)
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("It may have been done, or may not")
        assert (await product(tenant, "P-1"))["name"] == name
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog).to_have_count(0)
        await expect(page.get_by_role("row", name=name)).to_be_visible()
        await page.get_by_role("link", name="P-1").click()


async def test_a_record_leads_to_the_row_it_came_from_and_markup_is_text(windows, page_errors, tenant):
    done = await tenant.imported("sales.csv", SALES, "sales")
    await tenant.imported("books.csv", f"title,author,isbn,year\n{EVIL},A,9783522177504,1973\n", "books")
    for scheme, width in (("light", 1280), ("dark", 390)):
        page = await windows.signed_in(
            tenant.token, color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        await shown(page, "sales", "?record=S-1")
        dialog = page.get_by_role("dialog", name="Sale")
        await expect(dialog.get_by_text("S-1;2024-03-04;P-1;J\u00f8rstad;2;10.00")).to_be_visible()
        await is_fit(page)
        await screenshot(page, f"record-{scheme}")
        link = dialog.get_by_role("link", name="Record 1 of a file")
        assert await link.get_attribute("href") == f"/imports/{done['id']}?row=1"
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(page.get_by_role("button", name="New sale")).to_have_count(0)
        await expect(page.get_by_role("table")).to_contain_text("<img src=x onerror=")
        await is_fit(page)
        await screenshot(page, f"records-{scheme}")

        await shown(page, "books", f"?title__contains={EVIL}")
        await page.get_by_role("link", name=EVIL).click()
        await expect(page.get_by_role("dialog").get_by_label("Title")).to_have_value(EVIL)
        await is_fit(page)
        assert await page.evaluate("window.pwned") is None


async def test_a_session_that_may_only_read_is_offered_no_edits(windows, tenant):
    await tenant.imported("products.csv", PRODUCTS, "products")
    page = await windows.open()
    await page.goto(f"/sign-in?next=/records/products#{tenant.token_for('records:read')}")
    await expect(page.get_by_role("heading", name="Products", level=1)).to_be_visible()

    await page.get_by_role("link", name="P-001").click()
    await expect(page.get_by_role("dialog", name="Product")).to_contain_text("Lamp 001")
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_have_count(0)
    await page.keyboard.press("Escape")
    for name in ("New product", "Delete all"):
        await expect(page.get_by_role("button", name=name)).to_have_count(0)
    await expect(page.get_by_role("switch")).to_have_count(0)
