"""The console's first page in a real browser, by that browser's own clock."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from bench import browser
from bench.bench import Bench, NotMeasured, say
from bench.registry import measures
from bench.report import Figure
from bench.running import Process, bench_token, penstock_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, StorageState

WARM_UPS = 1  # for what a browser and a server do only once
PATIENCE_MS = 30_000
# Milliseconds from the start of the navigation until the heading was there and the frame with it was drawn.
_WATCH = """
    window.penstockShown = new Promise((resolve) => {
        new MutationObserver((_, observer) => {
            if (!document.querySelector("main h1")) return;
            observer.disconnect();
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
        }).observe(document, { childList: true, subtree: true });
    });
"""


@measures("console_first_page")
def console_first_page(bench: Bench) -> Iterator[Figure]:
    """Seconds until someone who is signed in can use the first page, nothing of it in the browser's cache."""
    if find_spec("playwright") is None:
        raise NotMeasured("needs Playwright: pip install playwright")
    program, why = browser.find()
    if program is None:
        raise NotMeasured(f"needs Chromium: {why}")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - `make bench` does without it

    with bench.database() as url, penstock_up(bench, url) as penstock, bench.subfolder("bare") as folder:
        bare = Process((), os.environ, folder, module="bench.bare")
        try:
            bare.wait_until_ready()
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=program, args=browser.FLAGS)
                yield _measured(bench, chromium, penstock.results_url, bare.url)
                chromium.close()
        finally:
            bare.stop()


def _measured(bench: Bench, chromium: "Browser", console: str, bare: str) -> Figure:
    session = _signed_in(chromium, console)
    ours: list[float] = []
    again: list[float] = []
    theirs: list[float] = []
    for number in range(WARM_UPS + bench.rounds):
        with chromium.new_context(storage_state=session) as context:
            first, second = _shown(context, f"{console}/"), _shown(context, f"{console}/")
        with chromium.new_context() as context:
            plain = _shown(context, f"{bare}/page")
        if number >= WARM_UPS:
            ours.append(first)
            again.append(second)
            theirs.append(plain)
            say(f"First page {first:.3f} s, again {second:.3f} s; a bare page {plain:.3f} s")
    detail = {
        "browser": chromium.version,
        "rounds": ours,
        "baseline_rounds": theirs,
        "again": median(again),
    }
    return Figure("console_first_page", median(ours), "s", median(theirs), "value <= 1.0", detail)


def _signed_in(chromium: "Browser", console: str) -> "StorageState":
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{console}/sign-in#{bench_token()}")
        page.get_by_role("navigation", name="Main").wait_for(timeout=PATIENCE_MS)
        return context.storage_state()


def _shown(context: "BrowserContext", address: str) -> float:
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(address)
    page.get_by_role("main").get_by_role("heading", level=1).wait_for(timeout=PATIENCE_MS)
    milliseconds: float = page.evaluate("window.penstockShown")
    page.close()
    return milliseconds / 1000
