"""The command line. What a command needs is imported when it runs, so that `penstock --help` is quick."""

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from penstock.addresses import LOCAL, Token, Url, where
from penstock.administering import limits, rebuilding, tokens
from penstock.configuring import migrate, settings
from penstock.failing import (
    FAILED,
    NOT_STARTED,
    USAGE,
    databases_explained,
    extras_explained,
    fail,
    full_disks_explained,
)
from penstock.operating import forget, imports, queues
from penstock.operating_tenants import tenants
from penstock.reporting import log_event
from penstock.secret_files import SecretsUnreadable, read_secret_files

if TYPE_CHECKING:
    from shared.reading.overrides import DialectOverrides

SERVICES = ("upload", "processor", "results", "notifier")
JOBS = ("clickhouse-backfill", "daily-analysis")

app = typer.Typer(
    help="Penstock: the gate that lets partners' CSV files into PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(tokens, name="token")
app.add_typer(limits, name="limits")
app.add_typer(rebuilding, name="rebuild")
app.add_typer(queues, name="queues")
app.add_typer(imports, name="imports")
app.add_typer(tenants, name="tenant")


def main() -> None:
    """The `penstock` command."""
    with full_disks_explained(), extras_explained():
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
    try:
        read_secret_files()
    except SecretsUnreadable as error:
        fail(str(error), USAGE)


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
        with databases_explained():
            code = up(options)
    except (HomeBusy, AddressTaken) as error:
        fail(str(error), USAGE)
    except SettingsInvalid as error:
        fail("\n".join(error.lines), USAGE)
    except CannotStart as error:
        fail(str(error), NOT_STARTED)
    raise typer.Exit(code)


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help=f"One of: {', '.join(SERVICES)}.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port of its HTTP API and health.", min=0, max=65535)] = 8000,
) -> None:
    """Run one service in this process. Its settings are environment variables, PENSTOCK_…"""
    if service not in SERVICES:
        fail(f"there is no service {service!r}; there are: {', '.join(SERVICES)}", USAGE)
    from penstock.serving import CannotStart, SettingsInvalid, serve_one

    try:
        serve_one(service, host=host, port=port)
    except SettingsInvalid as error:
        fail("\n".join(error.lines), USAGE)
    except CannotStart as error:
        fail(str(error), NOT_STARTED)


app.command()(settings)
app.command()(migrate)


@app.command("run-job")
def run_job(
    name: Annotated[
        str, typer.Argument(help=f"One of: {', '.join(JOBS)}; the first, if PENSTOCK_CLICKHOUSE_URL is set.")
    ],
    date: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="The day that it is about; else yesterday.", show_default=False
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Only for this tenant; else for all that it is due for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
) -> None:
    """Run a job for a date now, in this process, as the scheduler would; its history is the same.

    One that another process is running is waited for. What was done before is not done twice. The database is the one in
    PENSTOCK_DATABASE_URL, or where that is not set, PENSTOCK_HOME's; a job's other settings are those of the notifier.

    Exit code: 0 when it succeeded for every tenant, 1 when it did not for some; the services try that again.
    """
    from penstock.administering import installed_database
    from penstock.running_jobs import Order, run
    from penstock.serving import SettingsInvalid
    from shared.contracts.problems import Problem
    from shared.platform.auth import checked_tenant

    try:
        order = Order(name, date and date.date(), tenant and checked_tenant(tenant))
        with installed_database() as database_url:
            code = run(database_url, order, as_json=as_json)
    except SettingsInvalid as error:
        fail("\n".join(error.lines), USAGE)
    except Problem as error:
        fail(f"{error.detail}{f'; {error.hint}' if error.hint else ''}", USAGE)
    except ValueError as error:
        fail(str(error), USAGE)
    raise typer.Exit(code)


AsJson = Annotated[bool, typer.Option("--json", help="Print the import as JSON at its end.")]
Encoding = Annotated[str | None, typer.Option(help="utf-8, windows-1252 …; else it is found.")]
Delimiter = Annotated[
    str | None,
    typer.Option(help="Characters, or: comma, semicolon, tab, pipe, space, colon; else it is found."),
]
Quote = Annotated[str | None, typer.Option(help="A character, or: double, single, none; else it is found.")]
Escape = Annotated[
    str | None, typer.Option(help="A character, or: doubled, backslash, none; else it is found.")
]
HeaderRows = Annotated[
    int | None, typer.Option(min=0, help="Records that name the columns; else they are found.")
]
SkipRows = Annotated[int | None, typer.Option(min=0, help="Lines before the header; else they are found.")]
ImportId = Annotated[UUID, typer.Argument(metavar="ID", help="The import's.")]


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file; may be a .csv.gz."),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="What the file is, for example `books`; with --corrects not needed.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Who sent it: a partner, a supplier.")] = None,
    corrects: Annotated[
        UUID | None,
        typer.Option(
            metavar="ID", help="The file is the errors.csv of that import, corrected: close its row errors."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be loaded and what is wrong.")
    ] = False,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="Load nothing before the end, then all of it at once.")
    ] = False,
    max_rejected: Annotated[
        int | None, typer.Option(min=0, help="Load nothing if more records than this have row errors.")
    ] = None,
    max_rejected_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="The same as a share of all records; 0.05: 5 percent.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Import it although the same bytes were imported before.")
    ] = False,
    date_order: Annotated[
        str | None, typer.Option(help="How 03/04/2024 is read: day-first or month-first.")
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    header_rows: HeaderRows = None,
    skip_rows: SkipRows = None,
    url: Url = LOCAL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a file and watch it go through.

    Exit code: 0 when every record was loaded, 3 when it completed with row errors, 1 when it failed, was cancelled or
    refused, 130 after Ctrl-C, and then it goes on.
    """
    from penstock.importing import Order, run

    if dataset is None and corrects is None:
        raise typer.BadParameter("say what the file is: --dataset, or --corrects", param_hint="--dataset")
    fields = {
        "corrects": corrects,
        "dry_run": dry_run or None,
        "atomic": atomic or None,
        "max_rejected": max_rejected,
        "max_rejected_share": max_rejected_share,
        "force": force or None,
        "date_order": date_order,
        "encoding": encoding,
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "header_rows": header_rows,
        "skip_rows": skip_rows,
    }
    raise typer.Exit(run(Order(file, dataset, source, fields), where(url, token), as_json=as_json))


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file; may be a .csv.gz.")
    ],
    dataset: Annotated[str | None, typer.Option(help="Show how it matches this dataset's columns.")] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    header_rows: HeaderRows = None,
    skip_rows: SkipRows = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Show how a file is read and why: dialect, header, first records, and what is wrong with some.

    Exit code: 0, or 1 when the file cannot be read at all.
    """
    from penstock.inspecting import run
    from shared.contracts.datasets import datasets

    if dataset is not None and dataset not in datasets():
        fail(f"there is no dataset {dataset!r}; there are: {', '.join(datasets())}", USAGE)
    given = _given(
        encoding=encoding,
        delimiter=delimiter or None,
        quote=quote,
        escape=escape,
        header_rows=header_rows,
        skip_rows=skip_rows,
    )
    raise typer.Exit(run(file, given, datasets()[dataset] if dataset else None, as_json=as_json))


@app.command()
def clean(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files; may be .csv.gz.")],
    out_dir: Annotated[Path, typer.Option(file_okay=False, help="Where to; made if it is not there.")],
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    header_rows: HeaderRows = None,
    skip_rows: SkipRows = None,
) -> None:
    """Write the same data as clean CSV (RFC 4180) in UTF-8, under the same file names without `.gz`.

    Cells stay as they are. What stands before the header goes, and so does a further table behind the first one; a
    header over several rows becomes one. Exit code: 0, or 1 when a file could not be written or lacks records; the
    others are written.
    """
    from penstock.cleaning import Order, only_python_knows, run

    transcode_from = encoding if encoding and only_python_knows(encoding) else None
    given = _given(
        encoding="utf-8" if transcode_from else encoding,
        delimiter=delimiter or None,
        quote=quote,
        escape=escape,
        header_rows=header_rows,
        skip_rows=skip_rows,
    )
    try:
        raise typer.Exit(run(Order(files, out_dir, given, transcode_from)))
    except OSError as error:
        fail(f"{out_dir} cannot be made: {error.strerror}", FAILED)


def _given(**said: str | int | None) -> "DialectOverrides":
    """What was said of the dialect; what is wrong with it ends the command."""
    from pydantic import ValidationError

    from shared.reading.overrides import DialectOverrides

    try:
        return DialectOverrides.model_validate(said)
    except ValidationError as error:
        wrong = dict.fromkeys(
            f"--{str(fault['loc'][0]).replace('_', '-')} cannot be {said[str(fault['loc'][0])]!r}"
            if fault["loc"]
            else fault["msg"].removeprefix("Value error, ")
            for fault in error.errors()
        )
        fail("; ".join(wrong), USAGE)


@app.command()
def retry(import_id: ImportId, url: Url = LOCAL, token: Token = None, as_json: AsJson = False) -> None:
    """Let a failed import go on where it stopped, and watch it.

    Exit code: as that of `penstock import`.
    """
    from penstock import importing

    raise typer.Exit(importing.retry(import_id, where(url, token), as_json=as_json))


@app.command()
def cancel(import_id: ImportId, url: Url = LOCAL, token: Token = None, as_json: AsJson = False) -> None:
    """End an import, and say what it had loaded.

    Exit code: 0 when it is cancelled, 1 when it had ended before.
    """
    from penstock import importing

    raise typer.Exit(importing.cancel(import_id, where(url, token), as_json=as_json))


@app.command()
def verify(
    receipt: Annotated[str, typer.Argument(help="A receipt's file; -: standard input.")],
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE", help="The public keys, a JWK Set; else those of --url.", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="CSV", dir_okay=False, help="The file that it should be of; may be a .csv.gz."),
    ] = None,
    url: Url = LOCAL,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check a receipt: that it is as Penstock signed it, that its counts add up, and with --file, that it is of that file.

    Needs no token; with --keys FILE, no network. Exit code: 0 when it is valid, 1 when it is not, 2 when something cannot
    be read.
    """
    from penstock.verifying import Order, run
    from shared.client.receipts import KEYS_PATH

    raise typer.Exit(run(Order(receipt, keys or url.rstrip("/") + KEYS_PATH, file), as_json=as_json))


app.command("retention")(forget)
app.command("log-event")(log_event)
