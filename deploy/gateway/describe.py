"""Writes what the gateway shows by itself into a folder: the API of all four services as one description and one page."""

import asyncio
import json
import os
import re
import secrets
import sys
from pathlib import Path

import httpx

from penstock.home import new_receipt_key
from penstock.registry import NAMES, build
from shared.platform.service import Stopping, compose

# Services are composed, not started: no setting matters, but some must be there.
NOTHING = {
    "PENSTOCK_DATABASE_URL": "postgresql://nobody@nowhere/nothing",
    "PENSTOCK_BUS_URL": "amqp://nowhere/",
    "PENSTOCK_STORE_URL": "s3://nothing",
    "PENSTOCK_JWT_SECRET": secrets.token_hex(32),
    "PENSTOCK_RECEIPT_KEY": new_receipt_key(),
}


async def pages() -> dict[str, bytes]:
    """The content of each file, by its path."""
    stopping = Stopping()
    app = compose([build(name, stopping) for name in NAMES])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as browser:

        async def content(address: str) -> bytes:
            return (await browser.get(address)).raise_for_status().content

        page = await content("/docs")
        assets = re.findall(r'"(/docs/assets/[^"]+)"', page.decode())
        return {
            "docs/index.html": page,
            "openapi.json": await content("/openapi.json"),
            "ready.json": json.dumps({"status": "ok", "services": NAMES}).encode(),
        } | {address.removeprefix("/"): await content(address) for address in assets}


def main(folder: Path) -> None:
    os.environ.update(NOTHING)
    for name, content in asyncio.run(pages()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
