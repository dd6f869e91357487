"""ClickHouse's HTTP interface on chDB, which is ClickHouse in a wheel: a process of its own, to be killed as a real server is.

Of the interface it has what `clickhouse-connect` uses (https://clickhouse.com/docs/interfaces/http): the query in the body
or in `query`, values in `param_…`, the format in `default_format`, Basic authentication, errors with
`X-ClickHouse-Exception-Code`. A result is sent block by block, as the engine makes it.

    python clickhouse_server.py FOLDER PASSWORD [PORT]      tells its port, then serves until it is killed

Not of ClickHouse: after `POST /stall?rows=N` results stop when so many rows have been sent, and their connections hang.
"""

import base64
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import chdb

USER = "reader"
UNKNOWN_TABLE, AUTHENTICATION_FAILED = 60, 516
SETTINGS = {"max_block_size"}  # those of a request that are given on to the engine
_CODE = re.compile(r"Code: (\d+)")


class Handler(BaseHTTPRequestHandler):
    """One connection. Queries take turns."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: ClassVar[str]
    password: ClassVar[str]
    stall_after: ClassVar[int | None] = None
    turn: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, body: str) -> None:
        url = urlsplit(self.path)
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/stall":
            Handler.stall_after = int(options["rows"])
            self._whole(200, b"")
        elif self._is_allowed():
            with self.turn:
                self._run("\n".join(filter(None, [options.get("query"), body])), options)
        else:
            self._error(403, AUTHENTICATION_FAILED, "Authentication failed: password is incorrect")

    def _is_allowed(self) -> bool:
        wanted = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {wanted}"

    def _run(self, query: str, options: dict[str, str]) -> None:
        values = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
        query, _, named = query.partition("\n FORMAT ")
        kind = named.strip() or options.get("default_format", "TabSeparated")
        connection = chdb.connect(self.folder)
        try:
            if "database" in options:
                connection.query(f"USE `{options['database']}`")
            for name in SETTINGS & options.keys():
                connection.query(f"SET {name} = '{options[name]}'")
            if query.lstrip()[:6].upper() in {"SELECT", "WITH"}:
                self._stream(connection.send_query(query, kind, params=values or None))
            else:
                self._whole(200, connection.query(query, kind, params=values or None).bytes())
        except (RuntimeError, chdb.ChdbError) as error:
            found = _CODE.search(str(error))
            code = int(found[1]) if found else 0
            self._error(404 if code == UNKNOWN_TABLE else 500, code, str(error))
        finally:
            connection.close()

    def _stream(self, blocks: Any) -> None:
        """An error after the first block ends the connection in the middle of a chunked body, which the client notices."""
        rows, began = 0, False
        with blocks:
            for block in blocks:
                if not began:
                    self._head(200, {"Transfer-Encoding": "chunked"})
                    began = True
                if data := block.bytes():
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                rows += block.rows_read()
                if self.stall_after is not None and rows >= self.stall_after:
                    threading.Event().wait()
        if began:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._whole(200, b"")

    def _error(self, status: int, code: int, message: str) -> None:
        body = f"Code: {code}. DB::Exception: {message}".encode()
        self._whole(status, body, {"X-ClickHouse-Exception-Code": str(code)})

    def _whole(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def main(folder: str, password: str, port: str = "0") -> None:
    Handler.folder, Handler.password = folder, password
    engine = chdb.connect(folder)  # it lives as long as there is a connection to it
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
