"""A ClickHouse of a test's own: started, asked, made to hang, killed."""

import secrets
import subprocess
import sys
from pathlib import Path

import httpx

SERVER = Path(__file__).parent / "clickhouse_server.py"


class ClickHouse:
    """A server process; its data outlives it."""

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_hex(8)
        self._folder = folder
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://reader:{self.password}@127.0.0.1:{self._port}/default"

    def start(self) -> None:
        command = [sys.executable, str(SERVER), str(self._folder), self.password, str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self._http = httpx.Client(timeout=60)  # to make one takes longer than to ask

    def kill(self) -> None:
        """As `kill -9` does, if it lives."""
        self._http.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def run(self, *queries: str) -> str:
        """What the last one answers."""
        for query in queries:
            answer = self._http.post(self.url, content=query)
            assert answer.status_code == 200, answer.text
        return answer.text

    def stall_after(self, rows: int) -> None:
        """Let results hang when so many rows have been sent; until it is started again."""
        self._http.post(
            f"{self.url.removesuffix('default')}stall?rows={rows}", content=b""
        ).raise_for_status()
