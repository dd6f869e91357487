"""Every setting: its variable, default, unit and meaning, and who reads it. What `penstock settings` shows."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from penstock.registry import NAMES
from shared.platform.settings import ProcessSettings, Unit

PREFIX = "PENSTOCK_"
ALIKE = 0.93  # of 1: one typing error away from a setting, and no other service's, which a container may be given too
# What Kubernetes sets for a Service whose name begins with `penstock-`.
_OF_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)")
_WITH_PASSWORDS = frozenset({"database_url", "database_session_url", "bus_url"})
_TESTS = "PENSTOCK_TEST_"
_COMPOSE = frozenset({"PENSTOCK_LISTEN", "PENSTOCK_PORT", "PENSTOCK_VERSION"})


@dataclass(frozen=True)
class Setting:
    """One environment variable.

    Attributes:
        default: As it would be written into the environment; None: there is none, or it says nothing.
        unit: Of a number.
        services: Who reads it: services, or the part of Penstock outside them.
        secret: Whether its value opens something, and so belongs into a file of PENSTOCK_SECRETS_DIR.
    """

    variable: str
    meaning: str
    default: str | None = None
    unit: str = ""
    choices: Sequence[str] = ()
    required: bool = False
    secret: bool = False
    services: Sequence[str] = ()


# Read by libraries, by the command line or before there are settings.
ELSEWHERE = (
    Setting("PENSTOCK_HOME", "Folder of what is kept without servers of one's own.", ".penstock", services=("command line",)),
    Setting("PENSTOCK_SECRETS_DIR", "Folder with a file for each secret, named like its variable.", services=NAMES),
    Setting("PENSTOCK_URL", "Where Penstock is, for the commands that ask it and for Python programs that log investigation events.",
            "http://127.0.0.1:8000", services=("command line", "client")),
    Setting("PENSTOCK_TOKEN", "Access token for the same.", secret=True, services=("command line", "client")),
    Setting("PENSTOCK_TOKEN_FILE", "File with that token.", services=("command line", "client")),
    Setting("PENSTOCK_SPOOL", "Folder in which the client keeps what it could not send; empty: it keeps nothing.", services=("client",)),
    Setting("PENSTOCK_SPOOL_BYTES", "How much that folder may hold.", unit="bytes", services=("client",)),
    Setting("AWS_ENDPOINT_URL", "An S3 that is not Amazon's.", services=("upload", "processor", "results")),
    Setting("AWS_REGION", "Region of the bucket.", services=("upload", "processor", "results")),
    Setting("AWS_ACCESS_KEY_ID", "Who asks the store; unset: the role of the machine.", secret=True, services=("upload", "processor", "results")),
    Setting("AWS_SECRET_ACCESS_KEY", "The secret that goes with it.", secret=True, services=("upload", "processor", "results")),
    Setting("AWS_ALLOW_HTTP", "`true`: AWS_ENDPOINT_URL may be http://.", services=("upload", "processor", "results")),
    Setting("AWS_TIMEOUT", "For one request to the store, with its unit, such as `300s`.", "30s", services=("upload", "processor", "results")),
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", "Collector that traces are sent to, by OTLP over HTTP; unset: to none.", services=NAMES),
    Setting("OTEL_SERVICE_NAME", "Name of the process in traces; unset: `penstock-<service>`.", services=NAMES),
    Setting("OTEL_TRACES_SAMPLER", "Which traces are kept, and further OTEL_… variables: as OpenTelemetry's SDK has them.", services=NAMES),
)  # fmt: skip


def settings_of(*services: str) -> Sequence[Setting]:
    """What these services read, in the order of its declaration; those of all processes first. Without any: all that are here.

    A container has one service; the settings of the others it does not know.
    """
    found: dict[str, Setting] = {}
    for name, settings in _classes(services or NAMES):
        for field, info in settings.model_fields.items():
            described = found.get(field) or _described(field, info)
            found[field] = replace(described, services=(*described.services, name))
    return [
        *found.values(),
        *(each for each in ELSEWHERE if not services or set(services) & set(each.services)),
    ]


def misspelt(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that no setting has, with the setting that each of them seems to mean."""
    known = {each.variable for each in settings_of()} | _COMPOSE
    unknown = [
        name
        for name in sorted(environment)
        if name.startswith(PREFIX)
        and name not in known
        and not name.startswith(_TESTS)
        and not _OF_KUBERNETES.fullmatch(name)
    ]
    close = {name: get_close_matches(name, known, n=1, cutoff=ALIKE) for name in unknown}
    return {name: found[0] for name, found in close.items() if found}


def _classes(services: Sequence[str]) -> Iterator[tuple[str, type[BaseSettings]]]:
    for name in services:
        try:
            module = import_module(f"services.{name}.settings")
        except ModuleNotFoundError:
            if len(services) == 1:
                raise
            continue
        yield name, ProcessSettings
        yield name, module.Settings


def _described(field: str, info: FieldInfo) -> Setting:
    return Setting(
        f"{PREFIX}{field}".upper(),
        info.description or "",
        default=None if info.is_required() else _written(info.default),
        unit=unit_of(info),
        choices=[str(each) for each in get_args(info.annotation)]
        if get_origin(info.annotation) is Literal
        else (),
        required=info.is_required(),
        secret=field in _WITH_PASSWORDS or _holds(info.annotation, SecretStr),
    )


def unit_of(info: FieldInfo) -> str:
    """What a field that is a number counts, said of it or of what it may be; empty: it says nothing."""
    return next(
        (each.name for each in (*info.metadata, *_parts(info.annotation)) if isinstance(each, Unit)), ""
    )


def _parts(annotation: Any) -> Iterator[Any]:
    for each in get_args(annotation):
        yield each
        yield from _parts(each)


def _holds(annotation: Any, kind: type) -> bool:
    return kind in (annotation, *_parts(annotation))


def _written(value: Any) -> str | None:
    """A default as the environment would have it."""
    match value:
        case None | "" | () | {}:
            return None
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case dict():
            return json.dumps(value)
        case tuple() | list():
            return ",".join(map(str, value))
    return str(value)


def as_environment(settings: Sequence[Setting]) -> str:
    """The settings as a file of variables, each with its default behind a `#`, by who reads them."""
    groups: dict[str, list[Setting]] = {}
    for each in settings:
        groups.setdefault(", ".join(each.services), []).append(each)
    return "\n\n".join(
        "\n".join([f"# --- {readers} ---", *(_explained(each) for each in of_readers)])
        for readers, of_readers in groups.items()
    )


def _explained(setting: Setting) -> str:
    marks = [mark for mark, holds in (("required", setting.required), ("secret", setting.secret)) if holds]
    notes = [
        *([setting.unit] if setting.unit else []),
        *([" | ".join(setting.choices)] if setting.choices else []),
        *marks,
    ]
    told = f" [{'; '.join(notes)}]" if notes else ""
    return f"# {setting.meaning}{told}\n# {setting.variable}={setting.default or ''}"
