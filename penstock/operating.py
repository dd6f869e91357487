"""The commands of who keeps an installation going: queues and dead letters, imports that stand still."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from penstock.administering import installed_database, print_table
from penstock.failing import FAILED, USAGE, fail

queues = typer.Typer(help="What waits on the bus, and what failed for the last time.", no_args_is_help=True)
imports = typer.Typer(help="Imports that stand still.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
LARGEST_ID = 2**63 - 1
QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name, as `queues list` says it.")]


@queues.command("list")
def list_queues(as_json: AsJson = False) -> None:
    """Print every queue: what waits, is in hand, or is tried again later; the oldest; dead letters; consumers.

    `relay.…`: what a service has published and RabbitMQ has not confirmed yet. `-`: nothing, or nobody says. While RabbitMQ
    does not answer, what PostgreSQL knows is printed, and the exit code is 1. The database is the one in
    PENSTOCK_DATABASE_URL, the broker the one in PENSTOCK_BUS_URL; where they are not set, PENSTOCK_HOME's.
    """
    from penstock.operating_queues import backlog

    with installed_database() as database_url, _explained():
        found = backlog(database_url, _bus_url())
    head = ("QUEUE", "WAITING", "IN HAND", "SCHEDULED", "OLDEST", "DEAD", "CONSUMERS")
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found.shown], indent=2))
    else:
        print_table([head] + [each.cells() for each in found.shown])
    if found.silence:
        fail(str(found.silence), FAILED)


@queues.command("dead")
def list_dead(
    queue: QueueName,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Print the dead letters of a queue, those that failed last first."""
    from penstock.operating_queues import dead_letters

    with installed_database() as database_url, _explained():
        found = dead_letters(database_url, _bus_url(), queue, limit)
    head = ("ID", "FAILED", "TYPE", "TENANT", "SUBJECT", "DELIVERIES", "REASON", "ERROR")
    if as_json:
        typer.echo(json.dumps([each.document() for each in found.shown], indent=2))
    else:
        print_table([head] + [each.cells() for each in found.shown])
    if found.silence:
        fail(str(found.silence), FAILED)


@queues.command("show")
def show_dead(
    letter: Annotated[
        int,
        typer.Argument(metavar="ID", max=LARGEST_ID, help="Of a dead letter, as `queues dead` says it."),
    ],
) -> None:
    """Print a dead letter as JSON: why it is one, and the event as it came."""
    from penstock.operating_queues import dead_letter

    with installed_database() as database_url, _explained():
        found = dead_letter(database_url, letter)
    typer.echo(json.dumps(found.document(whole=True), indent=2))


@queues.command("redrive")
def redrive(
    queue: QueueName,
    letters: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[ID...]", max=LARGEST_ID, help="Of its dead letters, as `queues dead` says them."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that there are now.")] = False,
) -> None:
    """Send dead letters to their queue again, as if they had never been tried. What has been done is not done twice.

    An import whose slice was given up has failed, and its slice is not wanted any more: `penstock retry ID` takes it up.
    """
    from penstock.operating_queues import redrive as send

    if bool(letters) == everything:
        fail("say which: their IDs, or --all", USAGE)
    with installed_database() as database_url, _explained():
        sent = send(database_url, _bus_url(), queue, letters or None)
    dropped = f"; {sent.canaries} that only tested the way were dropped" if sent.canaries else ""
    typer.echo(f"{sent.letters} sent to {queue} again{dropped}.")


@queues.command("discard")
def discard(
    letters: Annotated[
        list[int],
        typer.Argument(metavar="ID...", max=LARGEST_ID, help="Of dead letters, as `queues dead` says them."),
    ],
) -> None:
    """Remove dead letters for good: what they asked for is never done."""
    from penstock.operating_queues import discard as remove

    with installed_database() as database_url, _explained():
        removed = remove(database_url, letters)
    typer.echo(f"{removed} removed.")


@imports.command("stuck")
def list_stuck(
    minutes: Annotated[
        float, typer.Option(min=0, max=5_000_000, help="That have not moved for so long.")
    ] = 15,
    as_json: AsJson = False,
) -> None:
    """Print imports that have not ended and do not move: who has them in hand, and what they wait for.

    Exit code: 0 when there are none, 1 when there are some.
    """
    from penstock.operating_imports import stuck

    with installed_database() as database_url:
        found = stuck(database_url, minutes * 60)
    if as_json:
        typer.echo(json.dumps([each.document() for each in found], indent=2))
    elif found:
        head = ("IMPORT", "TENANT", "DATASET", "STANDS FOR", "SLICE", "TRIES", "WAITS FOR")
        print_table([head] + [each.cells() for each in found])
    else:
        typer.echo(f"Every import has moved within {minutes:g} minutes.")
    if found:
        raise typer.Exit(FAILED)


@imports.command("resume")
def resume_import(
    import_id: Annotated[UUID, typer.Argument(metavar="ID", help="The import's.")],
) -> None:
    """Ask the processors once more to go on with an import that stands still. To ask once too often does no harm.

    One that has failed is taken up by `penstock retry ID`.
    """
    from penstock.operating_imports import CannotResume, resume

    try:
        with installed_database() as database_url:
            said = resume(database_url, import_id)
    except CannotResume as error:
        fail(str(error), FAILED)
    typer.echo(said)


def forget(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than the settings say, of all services, now; the services do the same by themselves each hour.

    PENSTOCK_FILE_RETENTION_DAYS: files of imports that ended. PENSTOCK_ERROR_RETENTION_DAYS: row errors, error files, and
    what imports and edits changed. Both are kept for good unless set. PENSTOCK_EVENT_RETENTION_DAYS,
    PENSTOCK_WEBHOOK_RETENTION_DAYS, PENSTOCK_INVESTIGATION_RETENTION_DAYS: see `penstock settings`. Receipts and counts
    always stay.
    """
    from penstock.operating_retention import apply, log_errors_only
    from penstock.serving import SettingsInvalid
    from shared.contracts.problems import Unavailable

    log_errors_only()
    try:
        with installed_database() as database_url:
            done = apply(database_url, dry_run=dry_run)
    except SettingsInvalid as error:
        fail("\n".join(error.lines), USAGE)
    except Unavailable as error:
        fail(f"{error.detail}; what was not removed is the next time", FAILED)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in done], indent=2))
        return
    head = ("SERVICE", "WHAT", "KEPT", "WOULD GO" if dry_run else "REMOVED")
    print_table([head] + [each.cells() for each in done])


def _bus_url() -> str | None:
    from penstock.embedded import present_broker
    from penstock.home import home_from_environment

    return present_broker(home_from_environment())


@contextmanager
def _explained() -> Iterator[None]:
    """Why a queue or a dead letter cannot be had, in one line."""
    from penstock.operating_queues import NoSuchLetter, NoSuchQueue
    from shared.platform.bus import BrokerSilent

    try:
        yield
    except NoSuchQueue as error:
        fail(str(error), USAGE)
    except (NoSuchLetter, BrokerSilent) as error:
        fail(str(error), FAILED)
