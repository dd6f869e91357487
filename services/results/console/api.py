"""Routes of the console: one page for all of its addresses, and its files."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from services.results.console.assets import Asset, Assets, read_assets
from shared.contracts.problems import NotFound

# What the page may do: run and show our own files, talk to its own origin, and nothing else; scripts are never made of text
# (Trusted Types). It has no inline script or style.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
FOR_GOOD = "public, max-age=31536000, immutable"  # a year; another version has another address
# The first segments of the console's addresses; what is behind them the page itself knows.
SECTIONS = (
    "sign-in",
    "imports",
    "records",
    "webhooks",
    "investigations",
    "suppliers",
    "jobs",
    "system",
)

Encodings = Annotated[str, Header(alias="Accept-Encoding")]


def console_router(assets: Assets | None = None) -> APIRouter:
    """`/`, the addresses below SECTIONS, and `/assets`."""
    assets = assets or read_assets()
    router = APIRouter(include_in_schema=False)

    def page(accept_encoding: Encodings = "") -> Response:
        return _sent(assets.page, accept_encoding, {"Content-Security-Policy": POLICY})

    for path in ("/", *(each for name in SECTIONS for each in (f"/{name}", f"/{name}/{{rest:path}}"))):
        router.add_api_route(path, page, methods=["GET", "HEAD"])

    @router.api_route("/assets/{version}/{name:path}", methods=["GET", "HEAD"])
    def asset(version: str, name: str, accept_encoding: Encodings = "") -> Response:
        found = assets.files.get(name)
        if found is None:
            raise NotFound("not_found", f"the console has no file {name!r}")
        # During a rolling update this process may be asked for another's version: it gives its own, but not for long.
        kept = FOR_GOOD if version == assets.version else "no-store"
        return _sent(found, accept_encoding, {"Cache-Control": kept})

    return router


def _sent(asset: Asset, accept_encoding: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "Content-Type": asset.media_type, "Vary": "Accept-Encoding"}
    if "gzip" in accept_encoding:
        return Response(asset.zipped, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.plain, headers=headers)
