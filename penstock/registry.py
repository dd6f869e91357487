"""The four services by name. Nothing of a service is imported until it is asked for, so each can ship alone."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from shared.platform.database import Migrations
from shared.platform.service import Service, Stopping

NAMES = ("upload", "processor", "results", "notifier")
_SERVICES = Path(__file__).parent.parent / "services"

# In the order they must run: `results` reads views that `upload` and `processor` publish.
MIGRATIONS = (
    Migrations("upload", ("upload",), _SERVICES / "upload" / "migrations"),
    Migrations(
        "processor", ("processor", "data"), _SERVICES / "processor" / "migrations", serves_tenants=False
    ),
    Migrations("results", ("results",), _SERVICES / "results" / "migrations"),
    Migrations("notifier", ("notifier",), _SERVICES / "notifier" / "migrations"),
)


def build(name: str, stopping: Stopping) -> Service:
    """The service of that name, configured from the environment, ready to run.

    Raises:
        pydantic.ValidationError: a setting is missing or wrong.
        ModuleNotFoundError: the service's extra is not installed.
    """
    module = import_module(f"services.{name}.app")
    return cast("Callable[[Stopping], Service]", module.build)(stopping)
