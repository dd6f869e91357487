"""Clients that go on asking while containers come and go, and note each request that failed, and all that was promised."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import httpx

RECORDS = 200  # in each file
PAUSE_SECONDS = 0.05


@dataclass
class Load:
    """Files, edits, investigation events and queries of one tenant, each from a thread of its own, until left.

    Attributes:
        failures: Requests without a good answer, in words; like the next two since the load began last.
        asked: Requests.
        slowest: Seconds.
    """

    connect: Callable[[], httpx.Client]
    failures: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    created: int = 0
    logged: int = 0
    asked: int = 0
    slowest: float = 0.0

    def __enter__(self) -> Self:
        self.failures, self.asked, self.slowest = [], 0, 0.0
        self._stopping = threading.Event()
        does = (self._upload, self._create, self._log, self._query)
        self._threads = [threading.Thread(target=self._repeat, args=(each,)) for each in does]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, requests: int, seconds: float = 180) -> None:
        """Wait for that many more requests."""
        until, enough = time.monotonic() + seconds, self.asked + requests
        while self.asked < enough:
            assert time.monotonic() < until, (
                f"{self.asked} of {enough} requests after {seconds} s: {self.failures}"
            )
            time.sleep(0.1)

    def _repeat(self, does: Callable[[httpx.Client], None]) -> None:
        with self.connect() as client:
            while not self._stopping.wait(PAUSE_SECONDS):
                does(client)

    def _ask(self, client: httpx.Client, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON; None if there was no good answer, which is noted."""
        begun = time.monotonic()
        try:
            answer = client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.failures.append(f"{method} {path}: {error!r}")
            return None
        finally:
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
        if answer.is_error:
            self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        return answer.json()

    def _upload(self, client: httpx.Client) -> None:
        name = uuid4().hex
        rows = "".join(f"Product {n},{name}-{n},{'of use ' * 10}\n" for n in range(RECORDS))
        accepted = self._ask(
            client,
            "POST",
            "/api/v1/uploads",
            data={"dataset": "products"},
            files={"file": (f"{name}.csv", f"name,sku,description\n{rows}".encode())},
        )
        if accepted:
            self.imports.append(accepted["id"])
            self._ask(client, "GET", accepted["links"]["self"])

    def _create(self, client: httpx.Client) -> None:
        product = {"sku": f"single-{uuid4().hex}", "name": "by itself"}
        if self._ask(client, "POST", "/api/v1/records/products", json=product):
            self.created += 1

    def _log(self, client: httpx.Client) -> None:
        event = {"stage": "load_ftp", "reason": "file_missing", "summary": f"{uuid4().hex[:6]} is not there"}
        if self._ask(client, "POST", "/api/v1/investigation-events", json=event):
            self.logged += 1

    def _query(self, client: httpx.Client) -> None:
        self._ask(client, "GET", "/api/v1/imports", params={"limit": 5})
        self._ask(client, "GET", "/api/v1/records/products", params={"limit": 5})
        self._ask(client, "GET", "/api/v1/webhooks")
