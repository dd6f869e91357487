"""What goes wrong in a page does not go unnoticed."""

from tests.console.browsing import PageErrors

# The script that provokes it ends when it has happened.
PROVOKED = {
    "status of 404": "fetch('/api/v1/nowhere')",
    "connect-src|Refused to connect": "fetch('http://127.0.0.1:1/').catch(() => {})",
    "said by the page": "console.error('said by the page')",
    "uncaught .*thrown": "new Promise((end) => setTimeout(() => { setTimeout(end); throw new Error('thrown'); }))",
    "uncaught .*rejected": "new Promise((end) => { Promise.reject(new Error('rejected')); setTimeout(end, 50); })",
}


async def test_each_kind_of_error_is_seen(windows, page_errors):
    page = await windows.open()
    await page.goto("/sign-in")

    for pattern, script in PROVOKED.items():
        page_errors.expect(pattern)
        await page.evaluate(f"async () => {{ await {script} }}")


async def test_a_request_that_nobody_answers_is_seen(windows, page_errors, stack):
    page = await windows.open()
    await page.goto("/sign-in")
    stack.kill("gateway")

    page_errors.expect("GET failed: net::ERR_")
    page_errors.allow("Failed to load resource: net::ERR_")
    await page.evaluate("fetch('/api/v1/session').catch(() => {})")


def test_what_nobody_expects_fails_and_what_was_expected_must_come():
    errors = PageErrors(seen=["status of 404 (/a)", "status of 503 (/b)"])
    errors.allow("status of 503")

    assert errors.verdict() == ["status of 404 (/a)"]
    errors.expect("404")
    assert errors.verdict() == []
    errors.expect("thrown")
    assert errors.verdict() == ["expected, and did not come: thrown"]
