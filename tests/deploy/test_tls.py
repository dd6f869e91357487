"""deploy/compose.yaml's profile `prod`: TLS at the gateway, started beside the `dev` one of the same services."""

import ssl
from collections.abc import Iterator

import httpx
import pytest

from tests.deploy.stack import Stack, wait_for

pytestmark = pytest.mark.timeout(2400)  # the first test may build every image


@pytest.fixture(scope="module")
def secure(stack: Stack) -> Iterator[httpx.Client]:
    """Whoever trusts the certificate that `deploy/prepare` made."""
    stack.compose("--profile", "prod", "up", "--detach", "--no-deps", "gateway-tls")
    trusting = ssl.create_default_context(cafile=str(stack.certificate))
    headers = {"Authorization": f"Bearer {stack.token('secure')}"}
    with httpx.Client(base_url=stack.tls_url, verify=trusting, headers=headers, trust_env=False) as client:
        wait_for(lambda: client.get("/health/live").status_code == 200, seconds=30)
        yield client


def test_a_file_goes_through_tls(secure: httpx.Client) -> None:
    books = b"title,author,isbn,publication_year\nThe Trial,Franz Kafka,9780805209990,1925\n"
    accepted = secure.post("/api/v1/uploads", files={"file": ("b.csv", books)}, data={"dataset": "books"})
    assert accepted.status_code == 202
    link = accepted.json()["links"]["self"]
    assert wait_for(lambda: secure.get(link).json()["status"] == "completed", seconds=30)


@pytest.mark.parametrize("path", ["/docs", "/health/live", "/api/v1/imports", "/api/v1/nothing", "/"])
def test_browsers_are_told_once_to_come_by_tls_only(secure: httpx.Client, path: str) -> None:
    assert secure.get(path).headers.get_list("strict-transport-security") == ["max-age=31536000"]


def test_so_they_are_while_a_service_is_away(stack: Stack, secure: httpx.Client) -> None:
    stack.compose("stop", "notifier")
    away = secure.get("/api/v1/webhooks")
    stack.compose("start", "notifier")
    assert (away.status_code, away.headers["strict-transport-security"]) == (503, "max-age=31536000")
    wait_for(lambda: secure.get("/api/v1/webhooks").status_code == 200, seconds=60)


def test_the_console_gets_a_cookie_for_tls_only_whatever_the_client_says(secure: httpx.Client) -> None:
    token = secure.headers["authorization"].removeprefix("Bearer ")
    said = {"Origin": str(secure.base_url).rstrip("/"), "X-Forwarded-Proto": "http"}
    answer = secure.post("/api/v1/session", json={"token": token}, headers=said)
    assert answer.status_code in {200, 201}, answer.text
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie


def test_plain_http_is_shown_the_way(stack: Stack, secure: httpx.Client) -> None:
    answer = httpx.post(
        f"{stack.plain_url}/api/v1/uploads?dataset=books", content=b"title\n", trust_env=False
    )
    assert answer.status_code == 308
    assert answer.headers["location"] == "https://localhost/api/v1/uploads?dataset=books"


@pytest.mark.parametrize(("version", "taken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # the old ones are what is tried
def test_tls_from_1_2(stack: Stack, secure: httpx.Client, version: str, taken: bool) -> None:
    context = ssl.create_default_context(cafile=str(stack.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")  # as old as can be
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    try:
        with httpx.Client(verify=context, trust_env=False) as client:
            client.get(f"{stack.tls_url}/health/live").raise_for_status()
    except httpx.ConnectError:
        assert not taken
    else:
        assert taken
