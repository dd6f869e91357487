"""The commands of who runs an installation: access tokens, limits of tenants, what is derived built anew."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from penstock.failing import FAILED, USAGE, databases_explained, fail

KEY_SHOWN = 16  # characters of an API key that are no secret: `psk_` and 12 digits

tokens = typer.Typer(help="Access tokens.", no_args_is_help=True)
limits = typer.Typer(help="How much a tenant may send.", no_args_is_help=True)
rebuilding = typer.Typer(help="Build anew what is derived.", no_args_is_help=True)


@tokens.command("create")
def create_token(
    tenant: Annotated[str, typer.Option(help="Whose data it opens.")],
    scope: Annotated[list[str], typer.Option(help="What it allows; may be given more than once.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 30,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="An API key, which can be revoked, instead of a JWT.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What the API key is for; shown by `token list`.")] = None,
) -> None:
    """Print a new access token.

    A JWT is signed with PENSTOCK_JWT_SECRET, an API key is kept in the database of PENSTOCK_DATABASE_URL; where they
    are not set, those of PENSTOCK_HOME are used.
    """
    from penstock.home import home_from_environment
    from penstock.tokens import NoSecret, signed_token, stored_key
    from shared.platform.auth import parse_scopes

    if name is not None and not api_key:
        fail("--name is for an API key; a JWT is kept nowhere", USAGE)
    home = home_from_environment()
    lifetime = timedelta(days=days)
    try:
        scopes = parse_scopes(scope)
        if api_key:
            with installed_database() as database_url:
                print(stored_key(database_url, tenant=tenant, scopes=scopes, lifetime=lifetime, name=name))
        else:
            print(signed_token(home, tenant=tenant, scopes=scopes, lifetime=lifetime))
    except (ValueError, NoSecret) as error:
        fail(str(error), USAGE)


@tokens.command("list")
def list_tokens() -> None:
    """Print all API keys, the newest first. JWTs are kept nowhere.

    The database is the one in PENSTOCK_DATABASE_URL, or where that is not set, PENSTOCK_HOME's.
    """
    from penstock.tokens import stored_keys

    with installed_database() as database_url:
        keys = stored_keys(database_url)
    rows = [("KEY", "TENANT", "NAME", "CREATED", "EXPIRES", "LAST USE", "REVOKED", "SCOPES")] + [
        (
            key.id,
            key.tenant,
            key.name or "-",
            _minute(key.created_at),
            _minute(key.expires_at),
            _minute(key.last_used_at),
            _minute(key.revoked_at),
            " ".join(key.scopes),
        )
        for key in keys
    ]
    print_table(rows)


@tokens.command("revoke")
def revoke_token(
    key: Annotated[
        str, typer.Argument(help="How the API key begins, as `token list` says it, or all of it.")
    ],
) -> None:
    """Revoke an API key: from now on it opens nothing. A JWT cannot be revoked; it ends by itself."""
    from penstock.tokens import revoke_key

    with installed_database() as database_url:
        revoked = revoke_key(database_url, key)
    if revoked is None:
        fail(
            f"there is no API key that begins with {key[:KEY_SHOWN]!r}; `penstock token list` shows all",
            FAILED,
        )
    print(f"{revoked.id} of tenant {revoked.tenant} is revoked.")


@limits.command("list")
def list_limits() -> None:
    """Print the tenants that have limits of their own; `-`: the default, which the upload service's settings say."""
    from penstock.limits import own_limits

    with installed_database() as database_url:
        rows = own_limits(database_url)
    print_table([("TENANT", "UPLOADS A MINUTE", "IMPORTS AT ONCE", "LARGEST FILE"), *rows])


@limits.command("set")
def set_limits(
    tenant: Annotated[str, typer.Argument(help="Whose limits.")],
    uploads_per_minute: Annotated[
        int | None,
        typer.Option(min=1, max=2**31 - 1, help="Uploads that may begin within any 60 s; else the default."),
    ] = None,
    imports_at_once: Annotated[
        int | None,
        typer.Option(min=1, max=2**31 - 1, help="Imports that may wait or be processed; else the default."),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(min=1, help="Largest file of any dataset, in bytes, unpacked; else the default."),
    ] = None,
) -> None:
    """Give a tenant limits of its own, from its next upload on. What is left out is the default again."""
    from penstock.limits import set_own_limits
    from shared.platform.auth import checked_tenant

    try:
        checked_tenant(tenant)
    except ValueError as error:
        fail(str(error), USAGE)
    with installed_database() as database_url:
        set_own_limits(
            database_url,
            tenant,
            uploads_per_minute=uploads_per_minute,
            imports_at_once=imports_at_once,
            max_bytes=max_bytes,
        )
    print(f"Tenant {tenant} has these limits from its next upload on.")


@rebuilding.command("results")
def rebuild_results(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's; else those of all.")] = None,
) -> None:
    """Build the list of imports, their states and counts anew, from what upload and processor have on record.

    Safe at any time, also while services run: what happens meanwhile waits for it, and counts. The database is the one
    in PENSTOCK_DATABASE_URL, or where that is not set, PENSTOCK_HOME's.
    """
    from penstock.rebuilding import rebuild_results as rebuild
    from shared.platform.auth import checked_tenant

    try:
        if tenant is not None:
            checked_tenant(tenant)
    except ValueError as error:
        fail(str(error), USAGE)
    with installed_database() as database_url:
        rebuilt = rebuild(database_url, tenant)
    print(
        f"Rebuilt {_counted(rebuilt.imports, 'import', 'imports')}: {_counted(rebuilt.lacked, 'was', 'were')} missing,"
        f" {_counted(rebuilt.mended, 'was', 'were')} different,"
        f" {_counted(rebuilt.forgotten, 'was', 'were')} none of upload's."
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def installed_database() -> Iterator[str]:
    """The URL of the database of this installation, or the reason why there is none, in one line."""
    from penstock.embedded import present_database
    from penstock.home import home_from_environment

    try:
        with databases_explained(), present_database(home_from_environment()) as database_url:
            yield database_url
    except LookupError as error:
        fail(str(error), USAGE)


def _minute(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ") if moment else "-"
