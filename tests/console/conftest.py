"""The console in a real browser, on the real stack: one stack and one browser for all tests here, a tenant for each."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from bench import browser as browsers
from tests.brokers import Broker
from tests.conftest import new_database
from tests.console.browsing import PageErrors, Windows
from tests.console.origin import Origin, Tenant, new_tenant
from tests.e2e.stack import emptied
from tests.notifier.receiver import Receiver, receiving


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; without one the test is skipped, and fails where CI=true."""
    program, why = browsers.find(install=True)
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs Chromium: {why}")
    return program


# For the package and not the session: its processes would take other tests' messages from the broker they share.
@pytest.fixture(scope="package")
async def stack(
    chromium: str,
    postgres_url: str,
    template_database: str,
    broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Origin]:
    """Everything running. A test may `stack.kill("results")`, and `await stack.started("results")`."""
    async with new_database(postgres_url, template_database) as database_url:
        running = Origin(tmp_path_factory.mktemp("console"), database_url, await emptied(broker.url))
        try:
            await running.started()
            yield running
        finally:
            await running.close()


@pytest.fixture(scope="package")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=browsers.FLAGS)
        yield launched
        await launched.close()


@pytest.fixture
async def whole_stack(stack: Origin) -> Origin:
    """The stack, with all its processes, whichever of them the test before has left dead."""
    await stack.mended()
    return stack


@pytest.fixture
async def tenant(whole_stack: Origin, tmp_path: Path) -> AsyncIterator[Tenant]:
    """A new tenant, and an admin's token for it."""
    async with new_tenant(whole_stack, tmp_path) as made:
        yield made


@pytest.fixture
def page_errors() -> PageErrors:
    """What went wrong in the test's pages; what the test does not expect fails it at its end."""
    return PageErrors()


@pytest.fixture
async def windows(browser: Browser, whole_stack: Origin, page_errors: PageErrors) -> AsyncIterator[Windows]:
    """Opens further pages, signed in or not."""
    async with AsyncExitStack() as closing:
        yield Windows(browser, whole_stack.address, page_errors, closing)
    if wrong := page_errors.verdict():
        pytest.fail("\n".join(["in the browser:", *wrong]), pytrace=False)


@pytest.fixture
async def page(windows: Windows, tenant: Tenant) -> Page:
    """A page signed in as the tenant's admin: desktop, light."""
    return await windows.signed_in(tenant.token)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver on this machine."""
    async with receiving() as made:
        yield made
