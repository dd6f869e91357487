"""The console's files as they are served. What they do is tested in a browser, in tests/console."""

import gzip
import posixpath
import re

import pytest

from services.results.console.api import SECTIONS
from services.results.console.assets import FOLDER, read_assets
from tests.results.conftest import Results

ASSETS = read_assets()
MODULES = sorted(name for name in ASSETS.files if name.endswith(".js"))


@pytest.mark.parametrize("path", ["/", "/imports/1", *(f"/{name}" for name in SECTIONS)])
async def test_the_page_is_at_each_of_its_addresses_and_kept_by_nobody(results: Results, path: str) -> None:
    answer = await results.client.get(path)

    assert answer.status_code == 200
    assert answer.content == ASSETS.page.plain
    assert answer.headers["cache-control"] == "no-store"
    assert "script-src 'self';" in answer.headers["content-security-policy"]


async def test_its_files_are_kept_for_good_under_the_version_they_are_of(results: Results) -> None:
    for name, asset in ASSETS.files.items():
        answer = await results.client.get(f"/assets/{ASSETS.version}/{name}")
        assert (answer.status_code, answer.content) == (200, asset.plain)
        assert answer.headers["content-type"] == asset.media_type
        assert answer.headers["cache-control"].endswith("immutable")

    # Of a page that another process of ours gave out, before or after an update.
    other = await results.client.get("/assets/000000000000/main.js")
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-store")
    assert (await results.client.get(f"/assets/{ASSETS.version}/no.js")).status_code == 404
    assert (await results.client.get(f"/assets/{ASSETS.version}/..%2fapi.py")).status_code == 404


async def test_they_are_sent_compressed_to_who_takes_that(results: Results) -> None:
    path = f"/assets/{ASSETS.version}/main.js"
    packed = await results.client.get(path, headers={"Accept-Encoding": "br, gzip"})
    plain = await results.client.get(path, headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == gzip.decompress(ASSETS.files["main.js"].zipped)
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_imports_is_there(name: str) -> None:
    text = ASSETS.files[name].plain.decode()
    imported = re.findall(
        r'(?:^(?:import|export)(?:[\w\s{},*$]*\bfrom)? |\bimport\()"([^"]+)"', text, re.MULTILINE
    )

    for each in imported:
        assert posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) in ASSETS.files


def test_the_page_asks_for_everything_at_once_that_its_first_module_needs() -> None:
    page = ASSETS.page.plain.decode()

    asked = re.findall(rf'modulepreload" href="/assets/{ASSETS.version}/([^"]+)"', page)
    assert {"main.js", "core/vdom.js", "parts/notice.js"} <= set(asked) <= set(MODULES)
    assert not [name for name in asked if name.startswith("pages/")]
    assert "{version}" not in page


def test_nothing_is_fetched_from_elsewhere() -> None:
    named = set()
    for path in FOLDER.rglob("*"):
        if path.is_file():
            named.update(re.findall(r"""["'(`](?:https?:)?//([a-z0-9.-]+\.[a-z]+)""", path.read_text()))

    assert named == {"www.w3.org", "example.com"}  # a namespace, and a placeholder
