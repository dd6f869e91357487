"""Files on their way in, from the hand to the database: whatever becomes of the connection, the tab or the session."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect

from penstock.limits import forget_uploads, set_own_limits
from tests.console.browsing import arrived, axe, fits, screenshot
from tests.console.origin import Tenant
from tests.e2e.stack import token

BOOKS = "title,author,isbn,publication_year\nMomo,Michael Ende,978-3-522-17750-4,1973\n"
EVIL = "<img src=x onerror=window.pwned=1>"
MB = 10**6
SENDING = re.compile(r"\d+(\.\d)? [kM]B of \d+ MB")


def products(count: int, width: int = 0) -> Iterator[str]:
    """A file's lines."""
    yield "sku,name,description\n"
    for number in range(count):
        yield f"P-{number:07},Pump {number},{'x' * width}\n"


def large(tenant: Tenant, name: str, count: int, width: int = 100) -> Path:
    path = tenant.folder / name
    with path.open("w") as file:
        file.writelines(products(count, width))
    return path


async def count_of(tenant: Tenant, table: str = "products") -> int:
    [(count,)] = await tenant.api.rows(f"SELECT count(*) FROM data.{table} WHERE tenant = $1", tenant.name)
    return int(count)


async def chosen(page: Page, *files: Path) -> Locator:
    """The dialog, once it knows the files and what they are."""
    await page.get_by_role("button", name="Upload a file").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("option", name="Books")).to_be_attached()
    await dialog.get_by_label("Files").set_input_files([str(file) for file in files])
    return dialog


async def upload(page: Page, *files: Path) -> None:
    dialog = await chosen(page, *files)
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await expect(dialog).to_be_hidden()


def tray(page: Page) -> Locator:
    return page.get_by_role("region", name="Uploads")


async def values_of(
    within: Page | Locator, pattern: re.Pattern[str], until: asyncio.Future[None] | asyncio.Task[None]
) -> list[str]:
    """What the element that says something like `pattern` says, each time it says something else, until then."""
    text = within.get_by_text(pattern)
    seen: list[str] = []
    while not until.done():
        [said, *_] = await text.all_inner_texts() or [""]
        if said not in seen and pattern.search(said):  # between finding and reading it may have changed
            seen.append(said)
        await asyncio.sleep(0.02)
    await until
    return seen


class Wire:
    """What the browser sends of files. After some pieces more, the next one can be held, or the connection cut."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.offsets: list[int] = []
        self._open = asyncio.Event()
        self._open.set()
        self._pieces = 0
        self._is_cut = False
        page.on("request", self._note)

    async def hold(self, *, after: int) -> None:
        """Let so many pieces through, and the next ones when it goes on."""
        await self._stop(after, cut=False)

    async def cut(self, *, after: int) -> None:
        """Let so many pieces through, and then nothing at all until it goes on."""
        await self._stop(after, cut=True)

    def go_on(self) -> None:
        self._open.set()

    def _note(self, request: Request) -> None:
        if request.method == "PATCH":
            self.offsets.append(int(request.headers["upload-offset"]))

    async def _stop(self, pieces: int, *, cut: bool) -> None:
        self._pieces, self._is_cut = pieces, cut
        self._open.clear()
        await self.page.unroute("**/api/v1/tus/*")
        await self.page.route("**/api/v1/tus/*", self._pass_on)

    async def _pass_on(self, route: Route) -> None:
        is_piece = route.request.method == "PATCH"
        self._pieces -= is_piece
        is_through = self._open.is_set() or self._pieces >= 0
        if self._is_cut and not is_through:
            await route.abort("connectionreset")
            return
        if is_piece and not is_through:
            await self._open.wait()
        await route.fallback()


async def test_a_hundred_megabytes_go_up_and_are_seen_to_move_all_the_way(page, tenant):
    file = large(tenant, "catalogue.csv", 300_000, 325)
    assert file.stat().st_size > 100 * MB

    dialog = await chosen(page, file)
    await expect(dialog.get_by_label("Dataset")).to_have_value("products")  # by its first line
    await dialog.get_by_label("Source").fill("Supplier A")
    assert await axe(page) == []
    await dialog.get_by_role("button", name="Upload", exact=True).click()

    arriving = asyncio.ensure_future(arrived(page))
    sent = await values_of(tray(page), SENDING, arriving)
    import_id = arriving.result()
    assert len(sent) >= 5, sent

    ended = asyncio.ensure_future(
        expect(page.get_by_text("300,000 records read, each of them counted once")).to_be_visible(
            timeout=60_000
        )
    )
    rows = await values_of(page, re.compile(r"[\d,]+ of 300,000 records"), ended)
    assert len({re.search(r"[\d,]+ of", said)[0] for said in rows}) >= 3, rows
    assert any(re.search(r"[\d,]+/s", said) and " left" in said for said in rows), rows

    found = await tenant.api.get(f"/imports/{import_id}")
    assert (found["status"], found["source"], found["rows_inserted"]) == ("completed", "Supplier A", 300_000)
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert await count_of(tenant) == 300_000


async def test_a_connection_that_breaks_and_a_service_that_dies_only_delay_it(
    page, tenant, stack, page_errors
):
    page_errors.allow("ERR_CONNECTION_RESET|status of 50[234]")
    file = large(tenant, "resumed.csv", 120_000)
    wire = Wire(page)
    await wire.cut(after=2)
    await upload(page, file)

    await expect(tray(page).get_by_text("waiting for the connection")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="resumed.csv: waits")).to_be_attached()
    await screenshot(page, "upload-waiting")
    await wire.hold(after=1)
    # It goes on whichever page is open.
    await page.get_by_role("link", name="Records", exact=True).click()
    await expect(tray(page).get_by_text(re.compile(r"went on at \d"))).to_be_visible()
    stack.kill("upload")
    wire.go_on()
    await expect(tray(page).get_by_text("waiting for the connection")).to_be_visible()
    await stack.started("upload")

    await expect(page.get_by_text("resumed.csv has arrived").first).to_be_visible(timeout=60_000)
    assert page.url.endswith("/records")  # nobody is torn from what they do
    await tray(page).get_by_role("link", name="Open the import").click()
    import_id = await arrived(page)

    assert wire.offsets.count(0) == 1, "it began anew"
    found = await tenant.api.finished(import_id)
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert await count_of(tenant) == 120_000


async def test_after_a_reload_the_same_file_goes_on_where_it_was(page, tenant):
    file = large(tenant, "again.csv", 100_000)
    wire = Wire(page)
    await wire.hold(after=1)
    await upload(page, file)
    await expect(tray(page).get_by_text(re.compile(r"[1-9]\S* MB of \d+ MB"))).to_be_visible()

    asked = []

    async def answer(question) -> None:
        asked.append(question.type)
        await question.accept()

    page.on("dialog", answer)
    await page.reload()
    await expect(page.get_by_role("heading", name="Imports")).to_be_visible()
    assert asked == ["beforeunload"]

    before = len(wire.offsets)
    await wire.hold(after=1)
    await upload(page, file)
    await expect(tray(page).get_by_text(re.compile(r"went on at \d"))).to_be_visible()
    wire.go_on()
    found = await tenant.api.finished(await arrived(page))

    assert wire.offsets[before] > 0
    assert found["rows_inserted"] == await count_of(tenant) == 100_000


async def test_an_upload_can_be_paused_and_cancelled_and_outlives_the_session(page, tenant, page_errors):
    page_errors.allow("status of 401")
    file = large(tenant, "paused.csv", 100_000)
    wire = Wire(page)
    await wire.hold(after=1)
    await upload(page, file)
    await tray(page).get_by_role("button", name="Pause").click()
    await expect(tray(page).get_by_text("paused")).to_be_visible()
    assert await axe(page) == []
    wire.go_on()

    await page.context.clear_cookies()
    await tray(page).get_by_role("button", name="Go on").click()
    dialog = page.get_by_role("dialog", name="Your session has ended")
    await dialog.get_by_label("API key or token").fill(tenant.token)
    await dialog.get_by_role("button", name="Sign in").click()
    assert await arrived(page)

    await page.get_by_role("link", name="Imports", exact=True).first.click()
    await wire.hold(after=1)
    await upload(page, large(tenant, "cancelled.csv", 100_001))
    async with page.expect_response(lambda answer: answer.request.method == "DELETE") as removed:
        await tray(page).get_by_role("button", name="Cancel the upload").click()
    assert (await (await removed.value).finished()) is None
    wire.go_on()
    await expect(tray(page).get_by_role("article", name="cancelled.csv")).to_have_count(0)
    listed = await tenant.api.get("/imports")
    assert [each["file_name"] for each in listed["items"]] == ["paused.csv"]
    [(unfinished,)] = await tenant.api.rows(
        "SELECT count(*) FROM upload.tus_uploads WHERE tenant = $1 AND state = 'receiving'", tenant.name
    )
    assert unfinished == 0


async def test_what_had_arrived_before_it_was_cancelled_is_not_hidden(page, tenant):
    answered, seen = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "PATCH":
            await route.fetch()
            answered.set()
            await seen.wait()  # by then nobody waits for it any more
        else:
            await route.fallback()

    await page.route("**/api/v1/tus/*", hold)
    dialog = await chosen(page, tenant.file("books.csv", BOOKS))
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await answered.wait()
    await expect(dialog).to_be_hidden()
    await tray(page).get_by_role("button", name="Cancel the upload").click()

    await expect(page.get_by_text("books.csv had arrived already").first).to_be_visible()
    seen.set()
    await tray(page).get_by_role("link", name="Open the import").click()
    assert (await tenant.api.finished(await arrived(page)))["rows_inserted"] == 1


async def test_the_dialog_waits_for_what_is_away(page, tenant, stack, page_errors):
    page_errors.allow("status of 50[234]")
    stack.kill("results")
    await page.get_by_role("button", name="Upload a file").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("It is tried again by itself")
    await stack.started("results")
    await dialog.get_by_label("Files").set_input_files(str(tenant.file("books.csv", BOOKS)))
    await expect(dialog.get_by_label("Dataset")).to_have_value("books")


async def test_files_are_dropped_anywhere_and_go_one_after_another(page, tenant):
    await page.get_by_role("link", name="Webhooks", exact=True).click()
    files = await page.evaluate_handle(
        """(texts) => {
            const data = new DataTransfer();
            texts.forEach((text, index) => data.items.add(new File([text], `dropped-${index}.csv`)));
            return data;
        }""",
        [BOOKS, BOOKS.replace("Momo", "Jim").replace("17750-4", "17773-3")],
    )
    await page.dispatch_event("main", "dragover", {"dataTransfer": files})
    await expect(page.get_by_text("Drop to upload")).to_be_visible()
    await screenshot(page, "upload-drop")
    await page.dispatch_event("main", "drop", {"dataTransfer": files})
    await expect(page.get_by_text("Drop to upload")).to_be_hidden()

    dialog = page.get_by_role("dialog", name="Upload 2 files")
    await expect(dialog.get_by_label("Dataset")).to_have_value("books")
    await dialog.get_by_label("Source").fill("Library")
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await expect(tray(page).get_by_role("link", name="Open the import")).to_have_count(2)
    assert await axe(page) == []

    found = (await tenant.api.get("/imports"))["items"]
    assert {(each["file_name"], each["source"]) for each in found} == {
        ("dropped-0.csv", "Library"),
        ("dropped-1.csv", "Library"),
    }
    for each in found:
        await tenant.api.finished(each["id"])
    assert await count_of(tenant, "books") == 2


async def test_what_is_refused_says_why_at_once_and_what_to_do(page, tenant, page_errors):
    page_errors.allow("status of 4(09|13|15|22)")
    first = await tenant.imported("first.csv", BOOKS, "books")
    same = tenant.file("same.csv", BOOKS)

    # Not a word is sent before there is a file.
    await page.get_by_role("button", name="Upload a file").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    assert not await dialog.get_by_label("Files").evaluate("input => input.validity.valid")

    # Another dataset's.
    await dialog.get_by_label("Files").set_input_files(str(same))
    await expect(dialog.get_by_label("Dataset")).to_have_value("books")
    await dialog.get_by_label("Dataset").select_option(label="Products")
    await expect(dialog.get_by_text("The first line is not that of Products")).to_be_visible()
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("The first record names no known column")
    await expect(dialog.get_by_role("alert")).to_contain_text("Begin the file with a line of column names")
    assert await axe(page) == []

    # An empty one, one that is no CSV, one that is too large, each with the API's own words; and markup stays text.
    await dialog.get_by_label("Dataset").select_option(label="Books")
    for file, said in [
        (tenant.file("empty.csv", ""), "empty"),
        (tenant.file("table.xlsx", "x"), "Excel"),
        (tenant.file("evil.csv", f"{EVIL}\n"), EVIL),
    ]:
        await dialog.get_by_label("Files").set_input_files(str(file))
        await dialog.get_by_role("button", name="Upload", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_contain_text(said)
    await dialog.get_by_label("Files").set_input_files(str(large(tenant, "sales.csv", 100_000)))
    await dialog.get_by_label("Dataset").select_option(label="Sales")
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text(re.compile("MB|MiB|bytes"))

    # The same bytes once more: the import that has them is shown, and it can be had all the same.
    await dialog.get_by_label("Files").set_input_files(str(same))
    await dialog.get_by_label("Dataset").select_option(label="Books")
    await dialog.get_by_role("button", name="Upload", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("the same bytes came for books before")
    await screenshot(page, "upload-refused")
    link = dialog.get_by_role("link", name="Open that import")
    await expect(link).to_have_attribute("href", f"/imports/{first['id']}")
    await dialog.get_by_role("button", name="Import it all the same").click()

    again = await tenant.api.finished(await arrived(page))
    assert (again["id"] != first["id"], again["rows_duplicate"]) == (True, 1)
    assert await page.evaluate("window.pwned") is None


async def test_too_many_at_a_time_begin_when_they_may(page, tenant, stack, page_errors):
    page_errors.expect("status of 429")
    page_errors.allow("ERR_INTERNET_DISCONNECTED")
    only_one = {"uploads_per_minute": 1, "imports_at_once": None, "max_bytes": None}
    await asyncio.to_thread(set_own_limits, stack.database_url, tenant.name, **only_one)
    await tenant.imported("one.csv", BOOKS, "books")
    dialog = await chosen(page, tenant.file("two.csv", BOOKS.replace("Momo", "Mimi")))
    await dialog.get_by_role("button", name="Upload", exact=True).click()

    await expect(tray(page).get_by_text(re.compile(r"Begins by itself in \d+ s"))).to_be_visible()
    await asyncio.to_thread(forget_uploads, stack.database_url, tenant.name)
    # It is up to a minute until then, but who is online again is let try at once.
    await page.context.set_offline(True)
    await page.context.set_offline(False)
    assert (await tenant.api.finished(await arrived(page)))["file_name"] == "two.csv"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dialog_is_for_everybody(windows, tenant, scheme):
    page = await windows.signed_in(tenant.token, color_scheme=scheme, viewport={"width": 390, "height": 800})
    packed = tenant.folder / "books.csv.gz"
    packed.write_bytes(gzip.compress(BOOKS.encode()))
    dialog = await chosen(page, packed)
    await expect(dialog.get_by_label("Dataset")).to_have_value("books")  # by its first line, unpacked
    await expect(dialog.get_by_text("The first line is not that of")).to_have_count(0)
    await dialog.get_by_text("More", exact=True).click()

    assert await axe(page) == []
    await screenshot(page, f"upload-dialog-{scheme}")
    assert await fits(page), "it scrolls sideways"


async def test_who_may_not_upload_is_not_asked_to(windows, stack):
    page = await windows.signed_in(token("reader", "imports:read"))

    await expect(page.get_by_role("heading", name="Drag a file here")).to_be_visible()
    await expect(page.get_by_role("button", name="Upload a file")).to_have_count(0)

    data = """() => {
        const data = new DataTransfer();
        data.items.add(new File(["x"], "dropped.csv"));
        return data;
    }"""
    dropped = await page.evaluate_handle(data)
    is_left_to_browser = (
        "(data) => dispatchEvent(new DragEvent('drop', { cancelable: true, dataTransfer: data }))"
    )
    assert await page.evaluate(is_left_to_browser, dropped) is False
    await expect(page.get_by_text("You may not upload files").first).to_be_visible()
