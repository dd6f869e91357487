"""The client against answers that a healthy Penstock does not give."""

import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from shared.client import ClientError, PenstockClient, Refused, Unreachable
from shared.client.sse import Event, events

Answer = Callable[[BaseHTTPRequestHandler], None]


class Stub:
    """A server whose answers are scripted by path; `seen` are the requests it got, `types` what bodies were said to be.

    `last_ids` are the events that streams were asked to go on behind.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[tuple[str, bytes]] = []
        self.types: list[str | None] = []
        self.last_ids: list[str | None] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.seen.append((self.path, b""))
                stub.last_ids.append(self.headers.get("Last-Event-ID"))
                answers = stub.answers[self.path.partition("?")[0]]
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def do_POST(self) -> None:
                body = b""
                if "Transfer-Encoding" in self.headers:  # chunked
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                stub.types.append(self.headers.get("Content-Type"))
                stub.seen.append((self.path, body))
                answers = stub.answers[self.path.partition("?")[0]]
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def client(stub: Stub) -> Iterator[PenstockClient]:
    with PenstockClient(stub.url, "token") as made:
        yield made


def answer(status: int, body: object, content_type: str = "application/json", **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return send


def state(status: str, processed: int, run: int = 1) -> dict[str, object]:
    return {"id": "7", "status": status, "run": run, "rows_processed": processed, "rows_detected": 10}


def stream(*states: dict[str, object], breaks: bool = False) -> Answer:
    text = "".join(
        f"event: import\nid: {each['rows_processed']}\ndata: {json.dumps(each)}\n\n" for each in states
    ).encode()

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        if breaks:
            handler.send_header("Content-Length", str(len(text) + 100))
        handler.end_headers()
        handler.wfile.write(text)

    return send


def test_a_problem_document_becomes_an_error_with_its_members(stub: Stub, client: PenstockClient) -> None:
    problem = {"code": "import_not_found", "detail": "there is no import 7", "hint": "look", "status": 404}
    stub.answers["/api/v1/imports/7"] = [answer(404, problem, "application/problem+json")]

    with pytest.raises(Refused) as caught:
        client.import_status("7")

    error = caught.value
    assert (error.status, error.code, error.detail, error.hint) == (
        404, "import_not_found", "there is no import 7", "look",
    )  # fmt: skip


def test_an_answer_that_is_no_problem_document_is_an_error_too(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7"] = [answer(502, b"<html>Bad Gateway</html>", "text/html")]

    with pytest.raises(Refused, match="the server answered 502 Bad Gateway") as caught:
        client.import_status("7")

    assert caught.value.code == "http_error"


def test_another_server_is_recognised(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7"] = [answer(200, b"<html>Welcome</html>", "text/html")]

    with pytest.raises(ClientError, match="does not answer as Penstock does"):
        client.import_status("7")


def test_an_upload_streams_and_tells_how_far_it_is(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/uploads"] = [answer(202, {"id": "7"})]
    content, sent = b"x" * 600_000, []

    accepted = client.upload(
        io.BytesIO(content), dataset="books", source="A & Ö", file_name="b.csv", on_sent=sent.append
    )

    [(path, body)] = stub.seen
    assert accepted["id"] == "7"
    assert body == content
    assert path == "/api/v1/uploads?dataset=books&data_source_name=A+%26+%C3%96&file_name=b.csv"
    assert sent == [262_144, 524_288, 600_000]


def test_an_upload_says_what_is_asked_of_it(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/uploads"] = [answer(202, {"id": "7"})]

    client.upload(
        io.BytesIO(b"x"),
        dataset="sales",
        file_name="Sales.CSV.gz",
        fields={"dry_run": True, "max_rejected": 0, "delimiter": ";", "quote": None},
    )

    [(path, _)] = stub.seen
    asked = "dataset=sales&file_name=Sales.CSV.gz&dry_run=true&max_rejected=0&delimiter=%3B"
    assert path == f"/api/v1/uploads?{asked}"
    assert stub.types == ["application/gzip"]


def test_commands_go_to_the_import_they_name(stub: Stub, client: PenstockClient) -> None:
    for what in ("cancel", "retry"):
        stub.answers[f"/api/v1/uploads/7/{what}"] = [answer(202, {"id": "7", "run": 3})]

    assert (client.cancel("7")["run"], client.retry("7")["run"]) == (3, 3)


def test_what_cannot_be_commanded_is_an_error(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/uploads/7/cancel"] = [answer(409, {"code": "import_ended", "detail": "it is over"})]

    with pytest.raises(Refused, match="it is over"):
        client.cancel("7")


def test_a_retried_import_is_followed_from_its_new_run(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7/events"] = [
        stream(state("failed", 5)),  # the processor has not heard of it yet
        answer(204, b""),
        stream(state("processing", 5, run=2), state("failed", 8, run=2)),
    ]

    states = [(found["status"], found["run"]) for found in client.follow("7", beyond_run=1)]

    assert states == [("processing", 2), ("failed", 2)]


def test_the_error_file_comes_in_pieces(stub: Stub, client: PenstockClient) -> None:
    content = b"isbn,_line\n" + b"x,2\n" * 100_000
    stub.answers["/api/v1/imports/7/errors.csv"] = [answer(200, content, "text/csv")]

    pieces = list(client.errors_csv("7"))

    assert b"".join(pieces) == content
    assert len(pieces) > 1


def test_an_error_file_that_is_not_there_is_an_error(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7/errors.csv"] = [answer(404, {"code": "import_not_found"})]

    with pytest.raises(Refused):
        list(client.errors_csv("7"))


def test_following_survives_a_stream_that_breaks_and_a_server_that_is_away(
    stub: Stub, client: PenstockClient
) -> None:
    stub.answers["/api/v1/imports/7"] = [
        answer(503, {"code": "database_unavailable"}),
        answer(200, state("processing", 5)),
    ]
    stub.answers["/api/v1/imports/7/events"] = [
        stream(state("pending", 0), state("processing", 3), breaks=True),
        stream(state("processing", 8), state("completed", 10)),
    ]

    states = [(found["status"], found["rows_processed"]) for found in client.follow("7")]

    assert states == [
        ("pending", 0), ("processing", 3), ("processing", 5), ("processing", 8), ("completed", 10),
    ]  # fmt: skip
    assert stub.last_ids == [None, None, None, "3"]


def test_following_takes_up_a_stream_that_a_stopping_server_ends(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7/events"] = [
        stream(state("processing", 3)),
        stream(state("completed", 10)),
    ]

    assert [found["rows_processed"] for found in client.follow("7")] == [3, 10]
    assert stub.last_ids == [None, "3"]


def test_following_polls_where_there_is_no_stream(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7"] = [answer(200, state("processing", 5)), answer(200, state("failed", 5))]
    stub.answers["/api/v1/imports/7/events"] = [answer(503, {"code": "service_unavailable"})]

    assert [found["status"] for found in client.follow("7")] == ["processing", "failed"]


def test_following_gives_up_when_nobody_answers_any_more(client: PenstockClient, stub: Stub) -> None:
    stub.close()

    with pytest.raises(Unreachable) as caught:
        list(client.follow("7", patience=0.2))

    assert "penstock up" in (caught.value.hint or "")


def test_following_an_import_that_is_not_there_fails_at_once(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7/events"] = [answer(404, {"code": "import_not_found"})]

    with pytest.raises(Refused):
        list(client.follow("7"))


def test_lists_are_read_page_by_page(stub: Stub, client: PenstockClient) -> None:
    stub.answers["/api/v1/imports/7/errors"] = [
        answer(200, {"items": [{"row_number": 1}], "next_cursor": "abc"}),
        answer(200, {"items": [{"row_number": 2}], "next_cursor": None}),
    ]

    assert [error["row_number"] for error in client.errors("7")] == [1, 2]
    assert stub.seen[1][0].endswith("?cursor=abc")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("event: import\nid: 3\ndata: {}\n\n", ["{}"]),
        ("data: one\ndata: two\n\n", ["one\ntwo"]),
        (": comment\n\ndata:tight\n\n", ["tight"]),
        ("data: finished\n\ndata: cut off", ["finished"]),
    ],
    ids=["named event", "two lines", "comment", "unfinished"],
)
def test_server_sent_events(text: str, data: list[str]) -> None:
    assert [event.data for event in events(text.splitlines())] == data


def test_the_id_of_an_event_stands_until_another_comes() -> None:
    text = "data: a\n\nid: 1\ndata: b\n\ndata: c\n\nid: 2\n\ndata: d\n\n"
    assert list(events(text.splitlines(), "0")) == [
        Event("a", "0"), Event("b", "1"), Event("c", "1"), Event("d", "2"),
    ]  # fmt: skip


def test_a_file_that_came_too_soon_is_sent_again_when_it_may(
    stub: Stub, client: PenstockClient, tmp_path: Path
) -> None:
    too_soon = answer(429, {"code": "rate_limited", "detail": "too often"}, Retry_After="1")
    stub.answers["/api/v1/uploads"] = [too_soon, too_soon, answer(202, {"id": "7"})]
    file = tmp_path / "gates.csv"
    file.write_bytes(b"sku\nG-1\n")
    waits = []

    accepted = client.upload(
        file, dataset="products", on_wait=lambda error, seconds: waits.append((error.code, seconds))
    )

    assert accepted == {"id": "7"}
    assert waits == [("rate_limited", 1)] * 2
    assert [body for _, body in stub.seen] == [b"sku\nG-1\n"] * 3


def test_a_file_that_may_not_come_for_long_is_refused_at_once(
    stub: Stub, client: PenstockClient, tmp_path: Path
) -> None:
    stub.answers["/api/v1/uploads"] = [answer(429, {"code": "rate_limited"}, Retry_After="3600")]
    file = tmp_path / "gates.csv"
    file.write_bytes(b"sku\n")

    with pytest.raises(Refused) as caught:
        client.upload(file, dataset="products")

    assert (caught.value.code, caught.value.retry_after) == ("rate_limited", 3600)
