"""`penstock serve`: one service as one process. And for `penstock up` too: why services do not start, in one line."""

import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from urllib.parse import urlsplit

from aio_pika.exceptions import AMQPError
from asyncpg import InterfaceError, PostgresError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from penstock.registry import build, needed_by
from penstock.settings_listed import misspelt
from penstock.signals import Stopped, stopped_by_signals
from shared.platform import logs
from shared.platform.migrated import lacking
from shared.platform.patience import patient
from shared.platform.pooler import SessionsNotKept, must_keep_sessions
from shared.platform.process import serve
from shared.platform.service import Service, Stopping
from shared.platform.settings import Given, PlatformSettings, ProcessSettings, StoreSettings
from shared.platform.telemetry import errors, tracing
from shared.platform.telemetry.figures import BUILD

EXAMPLES = {
    "PENSTOCK_DATABASE_URL": "postgresql://penstock:secret@localhost:5432/penstock",
    "PENSTOCK_DATABASE_SESSION_URL": "postgresql://penstock:secret@localhost:5432/penstock",
    "PENSTOCK_BUS_URL": "amqp://penstock:secret@localhost:5672/",
    "PENSTOCK_STORE_URL": "file:///var/lib/penstock/store",
    "PENSTOCK_JWT_SECRET": "$(openssl rand -hex 32)",
    "PENSTOCK_RECEIPT_KEY": "$(openssl genpkey -algorithm ed25519 -outform DER | openssl base64 -A)",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces",
}
SCHEMES = {
    "database_url": ("postgresql", "postgres"),
    "database_session_url": ("postgresql", "postgres"),
    "bus_url": ("amqp", "amqps"),
    "store_url": ("file", "s3", "gs", "az", "abfs", "abfss"),
}
# SQLSTATE: no such table, schema, column, function or role. What `penstock migrate` makes is not there.
NOT_MIGRATED = frozenset({"42P01", "3F000", "42703", "42883", "22023"})
# SQLSTATE: a prepared statement is there already, or not any more. It was prepared in another session of a pooler.
POOLED = frozenset({"42P05", "26000"})


log = logs.get_logger(__name__)


class SettingsInvalid(ValueError):
    """Settings are missing or wrong; `lines` says which, one line each. Nothing was started."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class _Addresses(BaseSettings):
    """What names a server; which of them a service needs, its own settings say."""

    model_config = PlatformSettings.model_config

    database_url: str | None = None
    database_session_url: Given[str] = None
    bus_url: str | None = None
    store_url: str | None = None


class CannotStart(RuntimeError):
    """A service did not start; the message says which, why, and what to do. Those that had started are stopped."""


def serve_one(name: str, *, host: str, port: int) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        SettingsInvalid: the environment is not fit for it.
        CannotStart: something that it needs is away.
        SystemExit: the port is taken; the log says so.
    """
    stopping = Stopping()
    service = configured(name, stopping)
    with stopped_by_signals():
        serve_explained([service], stopping, host=host, port=port, wait_for_schema=True)


def serve_explained(
    services: Sequence[Service],
    stopping: Stopping,
    *,
    host: str,
    port: int,
    on_ready: Callable[[], None] | None = None,
    wait_for_schema: bool = False,
) -> None:
    """`serve`, where a service that does not start is one line. At the log level `debug` the traceback is logged too.

    `wait_for_schema`: a service whose database is behind its code waits for it, instead of not starting.

    Raises:
        CannotStart: a service did not start.
        SystemExit: the port is taken; the log says so.
    """
    faults: list[tuple[str, Exception]] = []
    watched = [_watched(service, faults) for service in services]
    if wait_for_schema:  # whose database may be away even before it is waited for
        watched = [_watched(_waiting_for_schema(service), faults) for service in watched]
    try:
        with _without_tracebacks(faults):
            serve(watched, stopping, host=host, port=port, on_ready=on_ready)
    except (SystemExit, Stopped):
        if not faults:
            raise
        name, error = faults[0]
        raise CannotStart(f"{name} cannot start: {_reason(error)}") from error


def _waiting_for_schema(service: Service) -> Service:
    async def lacks() -> Sequence[str]:
        return await lacking(PlatformSettings().session_url, service.name, needed_by(service.name))

    return patient(service, lacks, end=lambda: signal.raise_signal(signal.SIGTERM))


def _watched(service: Service, faults: list[tuple[str, Exception]]) -> Service:
    """The service; why its lifespan could not be entered goes to `faults`."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                if (settings := PlatformSettings()).database_pooler != "none":
                    await must_keep_sessions(settings.session_url)
                await stack.enter_async_context(service.lifespan())
            except Exception as error:
                faults.append((service.name, error))
                raise
            yield

    return replace(service, lifespan=lifespan)


@contextmanager
def _without_tracebacks(faults: Sequence[object]) -> Iterator[None]:
    """Uvicorn logs why a lifespan could not be entered, as a text of many lines; once it is in `faults` it is known."""
    logger = logging.getLogger("uvicorn.error")

    def is_news(_: logging.LogRecord) -> bool:
        return not faults or logger.isEnabledFor(logging.DEBUG)

    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _reason(error: Exception) -> str:
    words = str(error).partition("\n")[0] or type(error).__name__
    settings = PlatformSettings()
    if isinstance(error, AMQPError) and settings.bus_url:
        where = _place(settings.bus_url)
        return f"RabbitMQ at {where} cannot be used: {words}. Start it, or mend PENSTOCK_BUS_URL"
    if isinstance(error, SessionsNotKept):
        return (
            f"{_place(settings.session_url)} is a pooler, too: {error}. Set PENSTOCK_DATABASE_SESSION_URL to the URL of"
            " PostgreSQL itself"
        )
    where = _place(settings.database_url)
    if _sqlstate(error) in NOT_MIGRATED:
        return f"the database at {where} lacks something: {words}. Run `penstock migrate`"
    if _sqlstate(error) in POOLED:
        return (
            f"the database at {where} cannot be used: {words}. A pooler in transaction mode is there: set"
            " PENSTOCK_DATABASE_POOLER=transaction and, to PostgreSQL itself, PENSTOCK_DATABASE_SESSION_URL"
        )
    if isinstance(error, SQLAlchemyError | PostgresError | InterfaceError | OSError):
        return f"the database at {where} cannot be used: {words}. Start it, or mend PENSTOCK_DATABASE_URL"
    return f"{type(error).__name__}: {words}. PENSTOCK_LOG_LEVEL=debug shows where"


def _sqlstate(error: Exception) -> str | None:
    code: str | None = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return code


def _place(address: str) -> str:
    """Host, port and path of a server's URL; never its password."""
    url = make_url(address)
    host = url.host or url.query.get("host", "localhost")  # a folder of sockets is no host
    return f"{host}{f':{url.port}' if url.port else ''}{f'/{url.database}' if url.database else ''}"


def check_settings(names: Iterable[str]) -> None:
    """Whether the environment is fit for these services.

    Raises:
        SettingsInvalid: settings are missing or wrong.
    """
    lines = [*_wrong_urls(_Addresses()), *_wrong_collectors()]
    for settings in (
        ProcessSettings,
        *(import_module(f"services.{name}.settings").Settings for name in names),
    ):
        try:
            read = settings()
        except ValidationError as error:
            lines += [_line(fault, settings) for fault in error.errors()]
        except SettingsError as error:
            field = re.search(r'field "(\w+)"', str(error))
            name = f"PENSTOCK_{field[1]}".upper() if field else "a setting"
            lines.append(f'{name} is wrong: it must be JSON, such as {{"sales": 10485760}}.')
        else:
            lines += [] if lines else _wrong_store(read)
    if lines:
        raise SettingsInvalid(list(dict.fromkeys(lines)))


def _wrong_store(settings: BaseSettings) -> list[str]:
    """What is wrong with the store of a service that has one."""
    if not isinstance(settings, StoreSettings):
        return []
    from shared.platform.objects import Objects, StoreUrlInvalid  # noqa: PLC0415 - not every service has the library

    try:
        Objects(settings.store_url)
    except StoreUrlInvalid as error:
        return [f"PENSTOCK_STORE_URL is wrong: {error}."]
    return []


def configured(name: str, stopping: Stopping) -> Service:
    """The service, and the logs of its process, as the environment says.

    Raises:
        SettingsInvalid: settings are missing or wrong.
    """
    check_settings([name])
    service = build(name, stopping)
    observe(name)
    return service


def observe(*names: str) -> None:
    """Begin to log, trace and report errors, as the environment says, in a process with these services.

    Raises:
        SettingsInvalid: those of traces, which their library reads, are wrong.
    """
    settings, process = PlatformSettings(), ProcessSettings()
    logs.configure(level=settings.log_level, style=settings.log_format)
    who = f"penstock-{names[0]}" if len(names) == 1 else "penstock"
    release = version("penstock")
    try:
        tracing.configure(who, release)
    except ValueError as error:
        raise SettingsInvalid([f"a variable OTEL_… is wrong: {error}"]) from error
    if process.sentry_dsn:
        errors.configure(
            process.sentry_dsn.get_secret_value(),
            environment=settings.environment,
            release=f"penstock@{release}",
            service=who,
        )
    for name in names:
        BUILD.labels(name, release).set(1)
    for variable, meant in misspelt(os.environ).items():
        log.warning("setting.unknown", variable=variable, meant=meant)


def _line(fault: ErrorDetails, settings: type[BaseSettings]) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message  # a rule of ours, which names the variable
    field = str(fault["loc"][0])
    variable = f"PENSTOCK_{field}".upper()
    wrong = "is not set" if fault["type"] == "missing" else f"is wrong: {message}"
    declared = settings.model_fields.get(field)
    meaning = declared.description if declared and declared.description else ""
    return f"{variable} {wrong}. {meaning}{_example(variable)}".strip()


def _is_database_url(value: str) -> bool:
    """Whether SQLAlchemy reads it, and takes no half of a password for a part of the host."""
    try:
        return "@" not in (make_url(value).host or "")
    except (ArgumentError, ValueError):
        return False


def _is_bus_url(value: str) -> bool:
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


IS_READABLE: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "database_url": _is_database_url,
        "database_session_url": _is_database_url,
        "bus_url": _is_bus_url,
    }
)


def _wrong_urls(settings: _Addresses) -> Iterator[str]:
    for field, schemes in SCHEMES.items():
        value = getattr(settings, field, None)  # a service has only those it needs
        variable = f"PENSTOCK_{field}".upper()
        # `postgresql+asyncpg` and the like name a driver after the plus.
        if value is not None and value.partition(":")[0].partition("+")[0].lower() not in schemes:
            known = ", ".join(f"{scheme}://" for scheme in schemes)
            yield f"{variable} is wrong: it must begin with {known}.{_example(variable)}"
        elif value is not None and not IS_READABLE.get(field, bool)(value):
            yield (
                f"{variable} is wrong: it cannot be read as a URL. Other characters than letters and digits in a password"
                " must be percent-encoded: @ as %40, / as %2F, : as %3A, # as %23, ? as %3F"
            )


def _wrong_collectors() -> Iterator[str]:
    for variable in tracing.ENDPOINTS:
        value = os.environ.get(variable)
        if value and not re.match(r"https?://[^\s/]", value):
            yield f"{variable} is wrong: it must begin with http://, https://.{_example(variable)}"


def _example(variable: str) -> str:
    return f" Example: {variable}={EXAMPLES[variable]}" if variable in EXAMPLES else ""
