"""The servers and settings that `penstock up` brings along where the environment names none."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

import asyncpg

from penstock.home import Home
from penstock.local import postgres, rabbitmq
from penstock.local.processes import LocalServerError
from shared.platform.logs import get_logger

DATABASE = "penstock"
WATCH_SECONDS = 1.0
STOP_SECONDS = 4.0  # a server that needs longer goes on stopping by itself

log = get_logger(__name__)


@contextmanager
def database(home: Home) -> Iterator[str]:
    """The URL of the database: PENSTOCK_DATABASE_URL, else an embedded server that is stopped at the end.

    Where that is a pooler's, what is not a service goes past it: PENSTOCK_DATABASE_SESSION_URL.

    Raises:
        LocalServerError: the embedded server does not start.
    """
    if url := os.environ.get("PENSTOCK_DATABASE_URL"):
        yield os.environ.get("PENSTOCK_DATABASE_SESSION_URL") or url
        return
    with _kept_running(lambda: postgres.start(home.path)) as server:
        asyncio.run(_create_database(server.url))
        yield server.url_of(DATABASE)


@contextmanager
def present_database(home: Home) -> Iterator[str]:
    """The URL of the database that is there already, for a command beside `penstock up` or between two of its runs.

    Raises:
        LookupError: PENSTOCK_DATABASE_URL is not set, and `home` has no database.
    """
    if os.environ.get("PENSTOCK_DATABASE_URL"):
        with database(home) as url:
            yield url
    elif home.database is None:
        raise LookupError(
            f"PENSTOCK_DATABASE_URL is not set, and {home.path} has no database; run `penstock up` once"
        )
    elif home.is_held():
        yield postgres.start(home.path).url_of(DATABASE)  # it runs, and whoever runs it stops it
    else:
        with home.held(), database(home) as url:
            yield url


@contextmanager
def broker(home: Home) -> Iterator[str]:
    """The URL of RabbitMQ: PENSTOCK_BUS_URL, else a private node that is stopped at the end.

    Raises:
        LocalServerError: RabbitMQ is not installed, or does not start.
    """
    if url := os.environ.get("PENSTOCK_BUS_URL"):
        yield url
        return
    with _kept_running(lambda: rabbitmq.start(home.path)) as node:
        yield node.url


def present_broker(home: Home) -> str | None:
    """The URL of RabbitMQ for a command beside the services: PENSTOCK_BUS_URL, else the node of `home` that runs; None: none."""
    return os.environ.get("PENSTOCK_BUS_URL") or rabbitmq.running_url(home.path)


ServerT = TypeVar("ServerT", postgres.LocalPostgres, rabbitmq.LocalRabbit)


@contextmanager
def _kept_running(start: Callable[[], ServerT]) -> Iterator[ServerT]:
    """Start a server, start it again should it be killed, stop it at the end."""
    running = [start()]
    leaving = Event()

    def keep() -> None:
        while not leaving.wait(WATCH_SECONDS):
            try:
                running[0] = start()  # finds the server that runs, in milliseconds, or starts it
            except LocalServerError as error:
                log.warning("server.not_restarted", error=str(error))

    keeper = Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield running[0]
    finally:
        leaving.set()
        keeper.join(STOP_SECONDS)
        stop = Thread(target=running[0].stop, daemon=True)
        stop.start()
        stop.join(STOP_SECONDS)


async def _create_database(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


def defaults(home: Home, database_url: str) -> dict[str, str]:
    """The settings of services that run on this machine, for all that the environment leaves open."""
    return {
        "PENSTOCK_HOME": str(home.path),
        "PENSTOCK_DATABASE_URL": database_url,
        "PENSTOCK_STORE_URL": home.store.as_uri(),
        "PENSTOCK_JWT_SECRET": home.jwt_secret(),
        "PENSTOCK_RECEIPT_KEY": home.receipt_key(),
        "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
        "PENSTOCK_LOG_FORMAT": "console",
        "PENSTOCK_LOG_LEVEL": "warning",  # the terminal is for people; `info` shows every step
        "PENSTOCK_STOP_SECONDS": "4",  # with the servers behind it, the whole must end within 10 s
    }


def set_defaults(values: dict[str, str]) -> None:
    """Put into the environment what is not there yet; an empty variable counts as none."""
    for name, value in values.items():
        if not os.environ.get(name):
            os.environ[name] = value
