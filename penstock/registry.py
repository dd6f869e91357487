"""The four services by name. Nothing of a service is imported until it is asked for, so each can ship alone."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from shared.platform.database import Migrations
from shared.platform.service import Service, Stopping

NAMES = ("upload", "processor", "results", "notifier")
_SERVICES = Path(__file__).parent.parent / "services"

# In the order they must run: `results` reads views that `upload` and `processor` publish.
MIGRATIONS = (
    Migrations("upload", ("upload",), _SERVICES / "upload" / "migrations", reads=("processor",)),
    Migrations(
        "processor", ("processor", "data"), _SERVICES / "processor" / "migrations", serves_tenants=False
    ),
    Migrations("results", ("results",), _SERVICES / "results" / "migrations", reads=("upload", "processor")),
    Migrations("notifier", ("notifier",), _SERVICES / "notifier" / "migrations", reads=("processor",)),
)

# The newest revision of each, by its first schema. Written down, as an image has its own service's migrations only.
NEWEST = MappingProxyType(
    {
        "bus": "platform_0003",
        "upload": "upload_0010",
        "processor": "processor_0018",
        "results": "results_0006",
        "notifier": "notifier_0007",
    }
)


def needed_by(name: str) -> Mapping[str, str]:
    """The revisions, by schema, that a service needs before it can start: its own, the platform's, those it reads."""
    [migrations] = [each for each in MIGRATIONS if each.service == name]
    return {schema: NEWEST[schema] for schema in ("bus", name, *migrations.reads)}


def build(name: str, stopping: Stopping) -> Service:
    """The service of that name, configured from the environment, ready to run.

    Raises:
        pydantic.ValidationError: a setting is missing or wrong.
        ModuleNotFoundError: the service's extra is not installed.
    """
    module = import_module(f"services.{name}.app")
    return cast("Callable[[Stopping], Service]", module.build)(stopping)
