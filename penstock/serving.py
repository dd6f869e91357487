"""`penstock serve`: one service as one process."""

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from penstock.registry import build
from penstock.signals import stopped_by_signals
from shared.platform import logs
from shared.platform.process import serve
from shared.platform.service import Service, Stopping
from shared.platform.settings import PlatformSettings

EXAMPLES = {
    "PENSTOCK_DATABASE_URL": "postgresql://penstock:secret@localhost:5432/penstock",
    "PENSTOCK_BUS_URL": "amqp://penstock:secret@localhost:5672/",
    "PENSTOCK_STORE_URL": "file:///var/lib/penstock/store",
    "PENSTOCK_JWT_SECRET": "$(openssl rand -hex 32)",
}
SCHEMES = {
    "database_url": ("postgresql", "postgres"),
    "bus_url": ("amqp", "amqps"),
    "store_url": ("file", "s3", "gs", "az"),
}


class SettingsInvalid(ValueError):
    """Settings are missing or wrong; `lines` says which, one line each. Nothing was started."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def serve_one(name: str, *, host: str, port: int) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        SettingsInvalid: the environment is not fit for it.
        SystemExit: the port is taken, or the service could not start.
    """
    stopping = Stopping()
    service = configured(name, stopping)
    with stopped_by_signals():
        serve([service], stopping, host=host, port=port)


def configured(name: str, stopping: Stopping) -> Service:
    """The service, and the logs of its process, as the environment says.

    Raises:
        SettingsInvalid: settings are missing or wrong.
    """
    try:
        settings = PlatformSettings()
        if lines := list(_wrong_urls(settings)):
            raise SettingsInvalid(lines)
        logs.configure(level=settings.log_level, style=settings.log_format)
        return build(name, stopping)
    except ValidationError as error:
        raise SettingsInvalid([_line(fault) for fault in error.errors()]) from None


def _line(fault: ErrorDetails) -> str:
    if not fault["loc"]:
        return fault["msg"].removeprefix("Value error, ")  # a rule of ours, which names the variable
    field = str(fault["loc"][0])
    variable = f"PENSTOCK_{field}".upper()
    wrong = "is not set" if fault["type"] == "missing" else f"is wrong: {fault['msg']}"
    declared = PlatformSettings.model_fields.get(field)
    meaning = declared.description if declared and declared.description else ""
    return f"{variable} {wrong}. {meaning}{_example(variable)}".strip()


def _wrong_urls(settings: PlatformSettings) -> Iterator[str]:
    for field, schemes in SCHEMES.items():
        value = getattr(settings, field)
        variable = f"PENSTOCK_{field}".upper()
        # `postgresql+asyncpg` and the like name a driver after the plus.
        if value is not None and value.partition(":")[0].partition("+")[0].lower() not in schemes:
            known = ", ".join(f"{scheme}://" for scheme in schemes)
            yield f"{variable} is wrong: it must begin with {known}.{_example(variable)}"


def _example(variable: str) -> str:
    return f" Example: {variable}={EXAMPLES[variable]}" if variable in EXAMPLES else ""
