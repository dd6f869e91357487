"""A server that takes investigation events as the API does, and remembers them; and pipelines in processes of their own."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from penstock.local.processes import free_port
from tests.cli.given import clean_environment, wait_until


class Receiver:
    """Answers on one address, or is away.

    Attributes:
        events: How often each event came, by id; `bodies` are the events themselves.
        verdict: What becomes of one event: None: it is taken; else its status and the members of a problem.
        answer: What a whole request is answered with instead, first in, first out: status, headers.
        hangs: Requests are read and never answered.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens: list[str] = []
        self.sizes: list[int] = []
        self.events: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.verdict: Callable[[dict[str, Any]], tuple[int, dict[str, Any]] | None] = lambda _: None
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hangs = False
        self._ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> "Receiver":
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.tokens.append(self.headers["Authorization"])
                if receiver.hangs:
                    receiver._ended.wait(60)
                    self.close_connection = True
                    return
                self.answer(*receiver.answered(body, is_batch=self.path.endswith("/batch")))

            def answer(self, status: int, document: object, headers: dict[str, str]) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answered(self, body: Any, *, is_batch: bool) -> tuple[int, object, dict[str, str]]:
        if self.answers:
            status, headers = self.answers.pop(0)
            return status, {"code": "for_the_test", "detail": "so the test wants it"}, headers
        events = body["events"] if is_batch else [body]
        self.sizes.append(len(events))
        items = [self._taken(event) for event in events]
        if is_batch:
            return 202, {"items": items}, {}
        return items[0]["status"], items[0], {}

    def _taken(self, event: dict[str, Any]) -> dict[str, Any]:
        if verdict := self.verdict(event):
            status, members = verdict
            return {"status": status, **members}
        outcome = "duplicate" if self.events[event["event_id"]] else "created"
        self.events[event["event_id"]] += 1
        self.bodies.append(event)
        return {
            "status": 202,
            "event_id": event["event_id"],
            "investigation_id": "0f3c",
            "outcome": outcome,
            "first_seen": event.get("occurred_at"),
            "count": 1,
        }


class Pipeline:
    """A program that reports errors, by `code`, to the receiver; it may be killed."""

    def __init__(self, code: str, receiver: Receiver, spool: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=clean_environment(
                PENSTOCK_URL=receiver.url, PENSTOCK_TOKEN="secret", PENSTOCK_SPOOL=str(spool)
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[list[str], str]:
        """What it printed, and what it said on standard error."""
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return output.split(), errors

    def kill(self) -> list[str]:
        self.process.kill()
        output, _ = self.process.communicate(timeout=60)
        return output.split()


def waits(spool: Path) -> list[dict[str, Any]]:
    """The events in the spool."""
    return [
        json.loads(line) for path in sorted(spool.glob("*.events")) for line in path.read_bytes().splitlines()
    ]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    wait_until(condition, seconds)
    assert condition()
