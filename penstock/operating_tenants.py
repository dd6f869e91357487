"""The commands for all that there is of a tenant: to take it along, and to have it gone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from penstock.administering import installed_database
from penstock.failing import FAILED, USAGE, fail
from penstock.signals import as_interrupts

tenants = typer.Typer(help="All that there is of a tenant.", no_args_is_help=True)

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="Its name.")]


@tenants.command("export")
def export(
    tenant: Tenant,
    out: Annotated[
        Path, typer.Option(metavar="FILE.tar", dir_okay=False, help="Where to; may not be there yet.")
    ],
) -> None:
    """Write all data of a tenant into a TAR: rows as NDJSON, records too, receipts as they are served, files, error files.

    One moment of the database; without secrets, keys and hashes. `manifest.json` has counts and SHA-256 of all that is in it.
    """
    from penstock.exporting_tenant import export_tenant
    from services.results.app import receipt_keys

    _check(tenant)
    if out.exists():
        fail(f"{out} is there already; name a new file", USAGE)
    with as_interrupts(), _explained(), installed_database() as database_url:
        store_url = _store_of(database_url, ["results"])
        try:
            manifest = export_tenant(database_url, store_url, tenant, out, receipt_keys().signed)
        except OSError as error:
            fail(f"{out} cannot be written: {error.strerror or error}", FAILED)
    rows = sum(member.rows or 0 for member in manifest.members)
    files = sum(member.rows is None for member in manifest.members)
    if not rows and not files:
        out.unlink()
        fail(f"there is nothing of a tenant {tenant}, so {out} was not written", FAILED)
    typer.echo(f"{out}: {rows:,} rows and {files:,} files of tenant {tenant}.")
    if manifest.missing:
        fail(
            f"{len(manifest.missing)} files are not in the store, or not whole: {', '.join(manifest.missing[:10])}",
            FAILED,
        )


@tenants.command("delete")
def delete(
    tenant: Tenant,
    yes: Annotated[
        str | None,
        typer.Option("--yes", metavar="TENANT", help="Its name again, instead of typing it when asked."),
    ] = None,
) -> None:
    """Delete all data of a tenant, for good: records, imports, receipts, files, webhooks, investigations, keys, sessions.

    Refused while one of its imports has not ended. A JWT of theirs opens an empty tenant until it ends: take back who may
    sign in first. Broken off, it goes on when it is run again.
    """
    from penstock.deleting_tenant import StillOpen, delete_tenant

    _check(tenant)
    typed = (
        yes if yes is not None else typer.prompt(f"All data of tenant {tenant} will be gone. Type its name")
    )
    if typed != tenant:
        fail("that is not its name, so nothing was deleted", USAGE)
    with _explained(), installed_database() as database_url:
        store_url = _store_of(database_url, ["upload"])
        try:
            deleted = delete_tenant(
                database_url, store_url, tenant, lambda line: typer.echo(f"  {line}", err=True)
            )
        except StillOpen as error:
            fail(str(error), FAILED)
    typer.echo(
        f"{sum(deleted.rows.values()):,} rows and {deleted.files:,} files of tenant {tenant} are gone."
    )


def _check(tenant: str) -> None:
    from shared.platform.auth import checked_tenant

    try:
        checked_tenant(tenant)
    except ValueError as error:
        fail(str(error), USAGE)


def _store_of(database_url: str, services: list[str]) -> str:
    """The store's URL, once the settings of `services` are known to be fit."""
    from penstock.operating_retention import log_errors_only, use_installation
    from penstock.serving import check_settings

    log_errors_only()
    use_installation(database_url)
    check_settings(services)
    return os.environ["PENSTOCK_STORE_URL"]


@contextmanager
def _explained() -> Iterator[None]:
    """Why it cannot be done, in one line."""
    from penstock.serving import SettingsInvalid
    from penstock.tenant_data import TableUnknown
    from shared.contracts.problems import Unavailable

    try:
        yield
    except SettingsInvalid as error:
        fail("\n".join(error.lines), USAGE)
    except Unavailable as error:
        fail(f"{error.detail}; run it again", FAILED)
    except TableUnknown as error:
        fail(str(error), FAILED)
