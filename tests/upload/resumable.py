"""A client of resumable uploads that does just what a test says, and tells all that it is told."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.upload.conftest import BOOKS, bearer

HEADERS = {"Tus-Resumable": "1.0.0"}
TYPE = {"Content-Type": "application/offset+octet-stream"}


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def books(rows: int) -> bytes:
    """A file of so many good records, each of them different."""
    head = BOOKS.splitlines(keepends=True)[0]
    return head + b"".join(b"Book %09d,Somebody,,19%02d\n" % (n, n % 100) for n in range(rows))


@dataclass
class Tus:
    """Speaks to one address as one tenant."""

    client: httpx.AsyncClient
    secret: str
    tenant: str = "acme"
    scope: str = "imports:write"
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.headers = {**HEADERS, **bearer(self.secret, self.scope, tenant=self.tenant)}

    async def ask(self, method: str, path: str, content: Any = None, **headers: Any) -> httpx.Response:
        """Any request; `Upload_Offset=3` is the header `Upload-Offset: 3`, and one that is None is left out."""
        sent = self.headers | {name.replace("_", "-"): str(value) for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value != "None"}
        return await self.client.request(method, path, content=content, headers=sent)

    async def create(
        self, length: int | None, content: Any = None, *, query: Mapping[str, str] | None = None, **said: Any
    ) -> httpx.Response:
        headers = {name: said.pop(name) for name in list(said) if name[0].isupper()}
        if length is not None:
            headers["Upload_Length"] = length
        if "Upload_Metadata" not in headers and "Upload_Concat" not in headers:
            headers["Upload_Metadata"] = metadata(**{"filename": "books.csv", "dataset": "books"} | said)
        if content is not None:
            headers["Content_Type"] = TYPE["Content-Type"]
        path = "/api/v1/tus" + (f"?{httpx.QueryParams(query)}" if query else "")
        return await self.ask("POST", path, content, **headers)

    async def created(self, length: int | None, **said: Any) -> str:
        """The path of a new upload."""
        response = await self.create(length, **said)
        assert response.status_code == 201, response.text
        return response.headers["location"]

    async def patch(self, path: str, offset: int, content: Any, **headers: Any) -> httpx.Response:
        return await self.ask(
            "PATCH", path, content, Upload_Offset=offset, **{"Content_Type": TYPE["Content-Type"]} | headers
        )

    async def head(self, path: str) -> httpx.Response:
        return await self.ask("HEAD", path)

    async def offset(self, path: str) -> int:
        response = await self.head(path)
        assert response.status_code == 200, response.text
        return int(response.headers["upload-offset"])

    async def show(self, path: str) -> dict[str, Any]:
        response = await self.ask("GET", path, Tus_Resumable=None)
        assert response.status_code == 200, response.text
        return response.json()

    async def delete(self, path: str) -> httpx.Response:
        return await self.ask("DELETE", path)

    async def outcome(self, path: str, seconds: float = 30) -> dict[str, Any]:
        """How the upload stands when it has been checked."""
        async with asyncio.timeout(seconds):
            while (shown := await self.show(path))["state"] in {"receiving", "checking"}:
                await asyncio.sleep(0.05)
        return shown


async def trickle(content: bytes, size: int, then: BaseException | None = None) -> AsyncIterator[bytes]:
    """A body in chunks of `size` bytes, which ends in an error if one is given."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)
    if then is not None:
        raise then


def digest(algorithm: Any, content: bytes) -> str:
    return f"{algorithm().name} {base64.b64encode(algorithm(content).digest()).decode()}"
