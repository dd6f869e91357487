"""Investigations in the console: the morning, the queue, one of them, the jobs; from click to database."""

import re
from datetime import timedelta

import pytest
from playwright.async_api import Locator, Page, expect

from tests.console.browsing import axe, fits, screenshot
from tests.console.origin import Tenant
from tests.console.pipelines import (
    MARKUP,
    add_suppliers,
    bad_file,
    error,
    good_file,
    log,
    today,
)
from tests.e2e.stack import until

PHONE = {"width": 390, "height": 844}
REFRESHED_SECONDS = 16


def dialog(page: Page, name: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("dialog", name=name)


def rows(page: Page) -> Locator:
    return page.get_by_role("main").get_by_role("row").filter(has=page.get_by_role("cell"))


async def state(tenant: Tenant, investigation: str) -> str:
    return str((await tenant.api.get(f"/investigations/{investigation}"))["state"])


async def test_a_new_tenant_is_told_what_fills_each_page(page):
    await page.get_by_role("link", name="Investigations").click()
    await expect(page.get_by_role("heading", name="Nothing has come yet")).to_be_visible()
    await expect(page.get_by_role("main").get_by_role("link", name="Import a file")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "investigations-none")

    await page.get_by_role("link", name="Queue").click()
    await expect(page.get_by_role("heading", name="Nothing to do")).to_be_visible()
    await page.get_by_label("Search").fill("disk")
    await expect(page.get_by_role("heading", name="No investigations match these filters")).to_be_visible()
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.get_by_role("heading", name="Nothing to do")).to_be_visible()
    assert await axe(page) == []

    await page.get_by_role("link", name="Suppliers").click()
    await expect(page.get_by_role("heading", name="No supplier is known yet")).to_be_visible()
    assert await axe(page) == []

    await page.get_by_role("link", name="Jobs", exact=True).click()
    await page.get_by_role("link", name="Daily analysis").click()
    await expect(page.get_by_role("heading", name="It has not run yet")).to_be_visible()
    assert await axe(page) == []


async def test_a_job_is_run_by_hand_and_the_morning_tells_what_it_found(windows, page, tenant):
    day = today()
    before = day - timedelta(days=1)
    # Given one supplier whose files have stopped, one whose file failed yesterday, a stranger, and a critical error
    await add_suppliers(
        tenant, {"id": "stopped", "name": "Stopped Ltd"}, {"id": "failing", "name": "Failing Ltd"}
    )
    await log(
        tenant,
        *[good_file("stopped", before - timedelta(days=days)) for days in range(4, 30)],
        *[good_file("failing", before - timedelta(days=days)) for days in range(1, 30)],
        bad_file("failing", before),
        error("no space left on device", severity="critical"),
        error("who is this?", supplier="stranger"),
    )

    # When the analysis of yesterday is asked for
    await page.get_by_role("link", name="Investigations").click()
    await page.get_by_role("link", name="Jobs", exact=True).first.click()
    await page.get_by_role("link", name="Daily analysis").click()
    await page.get_by_role("button", name="Run").click()
    running = dialog(page, "Run: Daily analysis")
    await expect(running.get_by_label("For which day")).to_have_value(str(before))
    assert await axe(page) == []
    await running.get_by_role("button", name="Run").click()

    # Then it is followed to its end, and is what the API has
    await expect(
        page.locator(".toast").get_by_text(re.compile("Daily analysis for .* succeeded"))
    ).to_be_visible()
    await expect(rows(page).first).to_contain_text("Succeeded")
    await rows(page).get_by_text("Result").click()
    await expect(rows(page).first).to_contain_text("events_logged")
    assert await axe(page) == []
    await screenshot(page, "job")
    run = await tenant.api.get(f"/jobs/daily-analysis/runs/{before}")
    assert run["status"] == "succeeded"
    assert run["requested_by"] is not None

    # And the morning says what is wrong, and leads there
    await page.get_by_role("link", name="Investigations").click()
    main = page.get_by_role("main")
    await expect(main.get_by_role("link", name="1 critical investigation")).to_be_visible()
    await expect(main.get_by_role("link", name="1 event of unknown suppliers")).to_be_visible()
    await expect(main.get_by_role("link", name=re.compile("2 Consistent"))).to_be_visible()
    await main.get_by_text("Numbers").click()
    await expect(main.get_by_role("row", name=f"{day.day} {day:%b}").get_by_role("cell")).not_to_have_text(
        "0"
    )
    assert await axe(page) == []
    assert await fits(page)
    await screenshot(page, "morning")
    for scheme, size in (("dark", None), ("light", PHONE)):
        other = await windows.signed_in(
            tenant.token, color_scheme=scheme, **({"viewport": size} if size else {})
        )
        await other.goto("/investigations")
        await expect(other.get_by_role("link", name="1 critical investigation")).to_be_visible()
        assert await axe(other) == []
        assert await fits(other), "it scrolls sideways"

    await main.get_by_role("link", name="2 late suppliers").click()
    await expect(rows(page)).to_have_count(2)
    await expect(rows(page).last).to_contain_text("Stopped Ltd")
    assert await axe(page) == []
    await page.go_back()
    await main.get_by_role("link", name="2 suppliers failed").click()
    await expect(rows(page)).to_have_count(2)
    await page.go_back()
    await main.get_by_role("link", name="1 critical investigation").click()
    await expect(rows(page)).to_have_count(1)
    await rows(page).get_by_role("link", name="no space left on device").click()
    await expect(page.get_by_role("heading", name="no space left on device")).to_be_visible()

    # And of a day without any it says so
    await page.goto(f"/investigations?day={day - timedelta(days=50)}")
    await expect(page.get_by_text("None.")).to_have_count(3)


async def test_the_queue_is_filtered_selected_and_decided_about(page, windows, tenant):
    # Given more investigations than one page has, of two suppliers
    await add_suppliers(tenant, {"id": "north", "name": "North"}, {"id": "south", "name": "South"})
    kinds = [chr(97 + first) + chr(97 + second) for first in range(8) for second in range(7)]
    logged = await log(
        tenant,
        *[error(f"table {kind} is away", fingerprint=kind, supplier="north") for kind in kinds],
        error(
            "prices are off", supplier="south", severity="warning", reason="price_deviation", stage="check"
        ),
    )
    await page.clock.install()

    # Then it has pages, and filters that the address keeps
    await page.goto("/investigations/queue")
    await expect(rows(page)).to_have_count(50)
    await page.get_by_role("button", name="Next").click()
    await expect(rows(page)).to_have_count(7)
    await page.get_by_label("Severity").select_option("Warning")
    await expect(rows(page)).to_have_count(1)
    await page.reload()
    await expect(rows(page)).to_contain_text("prices are off")
    assert "severity=warning" in page.url
    await page.goto("/investigations/queue?state=all&supplier=south&reason=price_deviation&stage=check")
    await expect(rows(page)).to_have_count(1)
    await expect(page.get_by_label("Supplier")).to_have_value("south")
    await page.get_by_label("Reason").fill("other")
    await expect(page.get_by_role("heading", name="No investigations match these filters")).to_be_visible()

    # When all on a page are selected with the keyboard, while another error comes
    await page.goto("/investigations/queue")
    await expect(rows(page)).to_have_count(50)
    await page.get_by_label("Select all on this page").press("Space")
    await expect(page.get_by_role("status").filter(has_text="50 investigations selected")).to_be_visible()
    assert await axe(page) == []
    await screenshot(page, "queue-selected")
    shown = await rows(page).all_inner_texts()
    [newest] = await log(tenant, error("a new one", supplier="south"))
    await page.clock.fast_forward(REFRESHED_SECONDS * 1000)

    # Then nothing moves, and it is offered to show the new one
    await expect(page.get_by_role("button", name="Show 1 new")).to_be_visible()
    assert [text.split("\n")[0] for text in await rows(page).all_inner_texts()] == [
        text.split("\n")[0] for text in shown
    ]

    # When they are acknowledged with a note, and one of them is part of another by now
    merged = await tenant.api.post(f"/investigations/{logged[-1]}/merge", {"into": newest})
    assert merged.status_code == 200
    await page.get_by_role("button", name="Acknowledge").click()
    asking = dialog(page, "Acknowledge 50 investigations")
    await expect(asking.get_by_label("Note")).to_be_focused()
    await asking.get_by_label("Note").fill("the database is being restored")
    assert await axe(page) == []
    await asking.get_by_role("button", name="Acknowledge").click()

    # Then it is said what became of each, and the queue is as it is now
    await expect(page.get_by_text("49 investigations acknowledged")).to_be_visible()
    await expect(page.get_by_text(f"{logged[-1]} was merged into {newest}")).to_be_visible()
    await expect(rows(page)).to_have_count(8)
    await expect(rows(page).first).to_contain_text("prices are off")  # the first error of the two
    acknowledged = await tenant.api.get("/investigations", state="acknowledged", limit=200)
    assert len(acknowledged["items"]) == 49
    history = await tenant.api.get(f"/investigations/{acknowledged['items'][0]['id']}/history")
    assert history["items"][0]["note"] == "the database is being restored"

    # And the others can be resolved, by a click on each
    await page.get_by_label("Select prices are off").check()
    await page.get_by_role("button", name="Resolve").click()
    await dialog(page, "Resolve 1 investigation").get_by_role("button", name="Resolve").click()
    await expect(rows(page)).to_have_count(7)
    assert await state(tenant, newest) == "resolved"

    for scheme, size in (("dark", None), ("light", PHONE)):
        other = await windows.signed_in(
            tenant.token, color_scheme=scheme, **({"viewport": size} if size else {})
        )
        await other.goto("/investigations/queue?state=all")
        await other.get_by_label("Select all on this page").check()
        await expect(other.get_by_role("region", name="With those selected")).to_be_visible()
        assert await axe(other) == []
        assert await fits(other), "it scrolls sideways"


async def test_one_is_read_muted_reopened_resolved_and_comes_again(page, page_errors, tenant):
    page_errors.expect("status of 422")
    day = today()
    extra = {"raw_data": "4711;12,50\n4712;free", "attempts": 3, "sent_at": "yesterday", "row": {"sku": 4712}}
    [one] = await log(tenant, error("cannot read prices.csv", event_id="e-1", extra=extra))
    await page.clock.install()
    await page.goto("/investigations/queue")
    await rows(page).get_by_role("link", name="cannot read prices.csv").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("cannot read prices.csv")

    # What was reported can be read, whatever it is
    events = page.locator("section").filter(has=page.get_by_role("heading", name="Events"))
    await events.get_by_text("cannot read prices.csv").first.click()
    await expect(events.get_by_text("4711;12,50\n4712;free")).to_be_visible()
    await expect(events.get_by_text('"sku": 4712')).to_be_visible()
    await expect(events).to_contain_text("e-1")
    await expect(events).to_contain_text("yesterday")
    assert await axe(page) == []
    await screenshot(page, "investigation")

    # It is noted, muted until a time or so many more errors, reopened
    await page.get_by_role("button", name="Note").click()
    noting = dialog(page, "Note 1 investigation")
    await noting.get_by_role("button", name="Note").click()
    await expect(noting.get_by_role("alert")).to_contain_text("needs a `note`")
    await noting.get_by_label("Note").fill("asked the partner")
    await noting.get_by_role("button", name="Note").click()
    history = page.locator("section").filter(has=page.get_by_role("heading", name="History"))
    await expect(history).to_contain_text("asked the partner")

    await page.get_by_role("button", name="Mute").click()
    muting = dialog(page, "Mute 1 investigation")
    await muting.get_by_label("Until", exact=False).first.fill(f"{day + timedelta(days=3)}T08:30")
    await muting.get_by_label("Until so many more errors").fill("5")
    assert await axe(page) == []
    await muting.get_by_role("button", name="Mute").click()
    await expect(page.locator(".notice").filter(has_text="or until 5 errors, 0 so far")).to_be_visible()
    muted = (await tenant.api.get(f"/investigations/{one}"))["muted"]
    assert muted["until"] == f"{day + timedelta(days=3)}T08:30:00Z"
    assert muted["events"] == 5

    await page.get_by_role("button", name="Reopen").click()
    await dialog(page, "Reopen 1 investigation").get_by_role("button", name="Reopen").click()
    await expect(history).to_contain_text("Reopened")
    assert await state(tenant, one) == "reopened"

    # It is resolved, and comes again with the next error, without a reload
    await page.get_by_role("button", name="Resolve").click()
    await dialog(page, "Resolve 1 investigation").get_by_role("button", name="Resolve").click()
    await expect(page.get_by_role("button", name="Resolve")).to_have_count(0)
    assert await state(tenant, one) == "resolved"
    await log(tenant, error("cannot read prices.csv"))
    await page.clock.fast_forward(REFRESHED_SECONDS * 1000)
    await expect(page.get_by_role("button", name="Resolve")).to_be_visible()
    assert await state(tenant, one) == "reopened"


async def test_two_become_one_and_are_split_again(page, tenant, page_errors):
    page_errors.expect("status of 422")
    first, second = await log(tenant, error("disk is full"), error("no space left", reason="write_error"))
    await page.goto(f"/investigations/{first}")

    await page.get_by_role("button", name="Merge").click()
    merging = dialog(page, "Merge into another investigation")
    await expect(merging.get_by_role("radio")).to_have_count(1)
    await merging.get_by_label("Find the other one").fill("nothing like it")
    await expect(merging.get_by_role("radio")).to_have_count(0)
    await merging.get_by_role("button", name="Merge").click()
    await expect(merging.get_by_text("Choose one.")).to_be_visible()
    await merging.get_by_label("Find the other one").fill("space")
    await merging.get_by_label(re.compile("no space left")).check()
    await merging.get_by_label("Note").fill("the same disk")
    assert await axe(page) == []
    await screenshot(page, "investigation-merge")
    await merging.get_by_role("button", name="Merge").click()

    # Then it goes on at the other one, with the errors of both
    await expect(page).to_have_url(re.compile(second))
    await expect(page.get_by_text("the same disk")).to_be_visible()
    assert (await tenant.api.get(f"/investigations/{second}"))["count"] == 2
    assert (await tenant.api.get(f"/investigations/{first}"))["merged_into"] == second
    await page.goto(f"/investigations/{first}")
    await page.get_by_role("link", name="Open", exact=True).click()
    await expect(page).to_have_url(re.compile(second))

    await page.get_by_role("button", name="Split").click()
    splitting = dialog(page, "Split off kinds of errors")
    await expect(splitting.get_by_role("checkbox")).to_have_count(2)
    await splitting.get_by_role("button", name="Split off").click()
    await expect(splitting.get_by_text("Choose some of them, not all.")).to_be_visible()
    await splitting.get_by_label(re.compile("disk is full")).check()
    assert await axe(page) == []
    await splitting.get_by_role("button", name="Split off").click()

    await expect(page).to_have_url(re.compile(first))
    await expect(page.get_by_role("heading", name="disk is full")).to_be_visible()
    assert [(await tenant.api.get(f"/investigations/{one}"))["count"] for one in (first, second)] == [1, 1]


async def test_an_import_leads_here_and_back(page, tenant):
    made = await tenant.imported(
        "books.csv", "title,author,isbn,publication_year\n,,,x\n", "books", source="acme"
    )

    async def reported() -> bool:
        return bool((await tenant.api.get("/investigations", import_id=made["id"]))["items"])

    await until(reported, 30)
    await page.goto(f"/investigations/queue?import_id={made['id']}")
    await rows(page).get_by_role("link").click()
    await expect(page.get_by_role("link", name="Open", exact=True)).to_have_attribute(
        "href", f"/imports/{made['id']}"
    )
    await page.get_by_role("link", name="acme", exact=True).click()
    await expect(page).to_have_url(re.compile("/suppliers/acme"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_others_wrote_is_shown_as_text(windows, tenant, scheme):
    nasty = f"{MARKUP} \u202e {'long' * 400}"
    supplier = f"{MARKUP}/north"
    await add_suppliers(tenant, {"id": supplier, "name": nasty[:255], "partner": MARKUP})
    [one] = await log(
        tenant,
        {
            "stage": MARKUP,
            "reason": MARKUP,
            "summary": nasty,
            "supplier": supplier,
            "file": {"path": f"/in/{MARKUP}\n"},
            "extra": {MARKUP: nasty, "state": {"a": MARKUP}, "created_at": "never", "supplier": [MARKUP]},
        },
    )
    await tenant.api.post(f"/investigations/{one}/note", {"note": nasty})
    page = await windows.signed_in(tenant.token, color_scheme=scheme, viewport=PHONE)
    for path in (
        "/investigations",
        "/investigations/queue?state=all",
        f"/investigations/{one}",
        "/suppliers",
    ):
        await page.goto(path)
        await expect(page.get_by_role("main").get_by_text(MARKUP, exact=False).first).to_be_visible()
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await page.title() != "taken"
        assert await page.locator("img").count() == 0
        assert await fits(page), f"{path} scrolls sideways"
        assert await axe(page) == []
    await page.get_by_role("link", name=MARKUP).first.click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
    assert await fits(page)
    assert await axe(page) == []


async def test_who_may_only_read_is_offered_nothing_else(windows, page_errors, tenant):
    [one] = await log(tenant, error("cannot read it"))
    token = tenant.token_for("investigations:read")
    page = await windows.signed_in(token)
    for path in ("/investigations/queue", f"/investigations/{one}", "/suppliers", "/jobs/daily-analysis"):
        await page.goto(path)
        await expect(page.get_by_role("main").get_by_role("heading").first).to_be_visible()
        await expect(page.get_by_role("main").locator("[aria-label=Loading]")).to_have_count(0)
        await expect(page.get_by_role("button", name=re.compile("Resolve|Merge|Add|Run|CSV"))).to_have_count(
            0
        )
        await expect(page.get_by_role("main").get_by_role("checkbox")).to_have_count(0)
