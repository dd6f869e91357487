"""The commands of who sets an installation up: its settings, its database."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.failing import USAGE, databases_explained, fail

if TYPE_CHECKING:
    from shared.platform.revisions import SchemaState

PENDING, AHEAD = 4, 5  # exit codes of `migrate --check`


def settings(
    service: Annotated[
        str | None, typer.Argument(help="Only what this service reads.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
    as_env: Annotated[
        bool, typer.Option("--env", help="Print them as a file of variables, each with its default.")
    ] = False,
) -> None:
    """List every setting: its variable, default, unit and meaning, and which services read it.

    In a container of one service: what that one reads.
    """
    from penstock.registry import NAMES
    from penstock.settings_listed import as_environment, settings_of

    if service is not None and service not in NAMES:
        fail(f"there is no service {service!r}; there are: {', '.join(NAMES)}", USAGE)
    found = settings_of(*([service] if service else []))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    elif as_env:
        print(as_environment(found))
    else:
        for each in found:
            default = (
                "required" if each.required else f"default {each.default}" if each.default else "no default"
            )
            unit = f" {each.unit}" if each.unit else ""
            choices = f"; one of {', '.join(each.choices)}" if each.choices else ""
            secret = "; a secret" if each.secret else ""
            print(
                f"{each.variable}\n    {default}{unit}{choices}{secret}; read by {', '.join(each.services)}\n    {each.meaning}"
            )


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what would be done.")] = False,
) -> None:
    """Bring the database in PENSTOCK_DATABASE_URL to this version. Safe to run twice, or at once, and while services run.

    Where that is a pooler's URL, PENSTOCK_DATABASE_SESSION_URL is taken. A database that a later version has migrated stays
    as it is.

    Exit code: 0; with --check 4 when revisions are pending, 5 when the database is newer than this version.
    """
    url = os.environ.get("PENSTOCK_DATABASE_SESSION_URL") or os.environ.get("PENSTOCK_DATABASE_URL")
    if not url:
        example = "PENSTOCK_DATABASE_URL=postgresql://penstock:secret@localhost:5432/penstock"
        fail(f"PENSTOCK_DATABASE_URL is not set. Example: {example}", USAGE)
    from penstock.registry import MIGRATIONS
    from shared.platform.database import migrate as run
    from shared.platform.migrated import states_now

    with databases_explained():
        if not check:
            run(url, MIGRATIONS)
        states = states_now(url, MIGRATIONS)
    for state in states:
        if check or state.ahead:
            print(_told(state))
    pending, ahead = [
        any(each) for each in zip(*((state.pending, state.ahead) for state in states), strict=True)
    ]
    if not (pending or ahead):
        print("The database is up to date.")
    if check and (pending or ahead):
        raise typer.Exit(PENDING if pending else AHEAD)


def _told(state: "SchemaState") -> str:
    begins = f"{state.schema}: {state.at or 'nothing there'}"
    if state.ahead:
        return f"{begins}, newer than this version of Penstock, which runs on it all the same"
    return f"{begins}, pending: {', '.join(state.pending)}" if state.pending else begins
