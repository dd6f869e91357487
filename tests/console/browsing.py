"""A browser's pages, and whatever goes wrong in them."""

import asyncio
import os
import re
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Error, Page, Request, expect

TIMEOUT_MS = 10_000
DESKTOP = {"width": 1280, "height": 800}
SCREENSHOTS = "PENSTOCK_SCREENSHOTS"

expect.set_options(timeout=TIMEOUT_MS)


@dataclass
class PageErrors:
    """What a browser complained of: its console's errors, exceptions nobody caught, requests that failed.

    Violations of the Content Security Policy are among the console's errors, as are answers of 400 and above.
    """

    seen: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """The test provokes errors in which the regular expression is found; without one it fails."""
        self.expected.append(pattern)

    def allow(self, pattern: str) -> None:
        """Such errors may come, or not: the test has a service away for a while."""
        self.allowed.append(pattern)

    def watch(self, context: BrowserContext, origin: str) -> None:
        context.on(
            "console", lambda said: said.type == "error" and self._add(said.text, said.location["url"])
        )
        context.on("weberror", lambda error: self._add(f"uncaught {error.error}", ""))
        context.on("requestfailed", lambda request: self._failed(request, origin))

    def verdict(self) -> list[str]:
        """Errors that nobody expects, and expectations that did not come true."""
        known = [*self.expected, *self.allowed]
        surprising = [error for error in self.seen if not any(re.search(each, error) for each in known)]
        missing = [each for each in self.expected if not any(re.search(each, error) for error in self.seen)]
        return surprising + [f"expected, and did not come: {each}" for each in missing]

    def _failed(self, request: Request, origin: str) -> None:
        # Aborted is what the page itself no longer wants, or left behind.
        if request.url.startswith(origin) and request.failure != "net::ERR_ABORTED":
            self._add(f"{request.method} failed: {request.failure}", request.url)

    def _add(self, text: str, where: str) -> None:
        self.seen.append(f"{text} ({where})" if where else text)


@dataclass
class Windows:
    """Opens pages, each in a context of its own: no cookie or storage is shared."""

    browser: Browser
    origin: str
    errors: PageErrors
    closing: AsyncExitStack

    async def open(self, **options: Any) -> Page:
        """An empty page. `options` as `browser.new_context` takes them: `color_scheme="dark"`, `viewport=…`."""
        context = await self.browser.new_context(
            **{
                "base_url": self.origin,
                "viewport": DESKTOP,
                "color_scheme": "light",
                "reduced_motion": "reduce",  # what moves cannot be compared, nor its contrast measured
                "locale": "en-GB",
                "timezone_id": "UTC",
                **options,
            }
        )
        self.closing.push_async_callback(context.close)
        context.set_default_timeout(TIMEOUT_MS)
        self.errors.watch(context, self.origin)
        return await context.new_page()

    async def signed_in(self, token: str, **options: Any) -> Page:
        """A page that came in by the link with the token, and shows the console."""
        page = await self.open(**options)
        await page.goto(f"/sign-in#{token}")
        await expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        await expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()
        return page


async def arrived(page: Page, before: str = "") -> str:
    """The id of the import that an upload has become, on its page: by itself, or by the link where it took long.

    `before`: the address of another import, from which it was uploaded.
    """
    link = page.get_by_role("region", name="Uploads").get_by_role("link", name="Open the import")
    async with asyncio.timeout(60):
        while page.url == before or not re.search(r"/imports/[0-9a-f-]{36}$", page.url):
            if await link.is_visible():
                with suppress(Error):  # gone by itself meanwhile
                    await link.click(timeout=500)
            await asyncio.sleep(0.02)
    return page.url.rpartition("/")[2]


async def axe(page: Page, **options: Any) -> list[str]:
    """What axe-core objects to in the page as it is now: rule, weight, what to do and where. Empty if nothing."""
    found = await Axe().run(page, options={"resultTypes": ["violations"], **options})
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {node['target']} {node['html'][:200]}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


async def fits(page: Page) -> bool:
    """Whether the page is no wider than its window."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def screenshot(page: Page, name: str) -> None:
    """Save the whole page as `name`.png in the folder PENSTOCK_SCREENSHOTS, if that is set."""
    if folder := os.environ.get(SCREENSHOTS):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
