"""A real PgBouncer in transaction mode: of the machine, or installed with apt."""

import os
import shutil
import signal
import socket
import time
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy.engine import make_url

from penstock.local import apt
from penstock.local.account import server_account
from penstock.local.processes import free_port, wait_until

SERVER_CONNECTIONS = 6  # to PostgreSQL, for each database; far fewer than there are clients
START_SECONDS = 20

SETTINGS = """
[databases]
* = {target}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 500
server_round_robin = 1
admin_users = admin
"""


def found() -> str | None:
    """The program; it is installed if need be and if that can be."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if program := shutil.which("pgbouncer", path=path):
        return program
    apt.install("pgbouncer")
    return shutil.which("pgbouncer", path=path)


class Pooler:
    """PgBouncer before the server that `url` names, for each of its databases."""

    def __init__(self, program: str, home: Path, url: str) -> None:
        self._url = make_url(url)
        self._port = free_port()
        self._log = home / "pgbouncer.log"
        account = server_account()
        host = self._url.host or unquote(str(self._url.query["host"]))
        port = self._url.port or self._url.query.get("port", 5432)
        password = f" password={self._url.password}" if self._url.password else ""
        target = f"host={host} port={port} user={self._url.username}{password}"
        settings = home / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(target=target, port=self._port, connections=SERVER_CONNECTIONS))
        account.own(settings)
        self.pid = account.launch(program, settings, log=self._log)
        assert wait_until(self._answers, START_SECONDS), self._log.read_text()

    def url_of(self, database_url: str) -> str:
        """The URL by which the pooler leads to the database of that one."""
        database = make_url(database_url).database
        return f"postgresql://{self._url.username}@127.0.0.1:{self._port}/{database}"

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
