"""The stack as a browser sees it: all services at one address; and one tenant of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from penstock.registry import NAMES
from shared.contracts.scopes import Scope
from tests.e2e.stack import ROOT, Stack, free_port, token

GATEWAY = "gateway"


class Origin(Stack):
    """Four services in processes of their own on RabbitMQ, and the gateway in front of them as a fifth."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ports[GATEWAY] = free_port()

    @property
    def address(self) -> str:
        return self.base(GATEWAY)

    def url(self, path: str) -> str:
        return f"{self.address}/api/v1{path}"

    async def mended(self) -> None:
        """Start again what does not run."""
        if dead := [name for name, process in self.running.items() if process.poll() is not None]:
            await self.started(*dead)

    def _command(self, name: str) -> list[str]:
        if name != GATEWAY:
            return super()._command(name)
        services = [f"{service}={self.base(service)}" for service in NAMES]
        return [str(ROOT / "tests/console/serve_gateway.py"), *services]


@dataclass(frozen=True)
class Tenant:
    """A tenant nobody else uses. `api` is the stack, called with `token`."""

    name: str
    token: str
    api: Stack
    folder: Path

    def file(self, name: str, text: str) -> Path:
        """A file to upload, in the browser or with `api`."""
        path = self.folder / name
        path.write_text(text)
        return path

    def token_for(self, *scopes: Scope) -> str:
        """A token that may do no more than these."""
        return token(self.name, *scopes)

    async def imported(self, name: str, text: str, dataset: str, **options: str) -> dict[str, Any]:
        """The import of a file with this text, once it has ended."""
        accepted = await self.api.upload(self.file(name, text), dataset, **options)
        return await self.api.finished(accepted["id"])


@asynccontextmanager
async def new_tenant(stack: Stack, folder: Path) -> AsyncIterator[Tenant]:
    name = f"tenant-{uuid4().hex[:8]}"
    api = stack.as_tenant(name)
    yield Tenant(name, token(name), api, folder)
    stack.clients.remove(api.http)
    await api.http.aclose()
