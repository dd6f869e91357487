"""`penstock log-event` as it stands on the command line."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from penstock.addresses import LOCAL, Token, Url, where

if TYPE_CHECKING:
    from shared.client.investigation_event import EventFields, Severity


def _moment(said: str) -> datetime:
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        raise typer.BadParameter(f"{said!r} is no time such as 2026-03-29T06:00:00+02:00") from None


def log_event(
    stage: Annotated[
        str | None, typer.Option(help="Where it happened: load_mail, load_ftp, consolidate …")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="What happened, as a code: file_missing.")] = None,
    supplier: Annotated[str | None, typer.Option(help="Whose data it is about.")] = None,
    severity: Annotated[
        str | None, typer.Option(help="info, warning, error or critical; else: error.", show_default=False)
    ] = None,
    summary: Annotated[str | None, typer.Option(help="For people; -: standard input.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="The file that it is about; it need not be there.")
    ] = None,
    no_hash: Annotated[bool, typer.Option("--no-hash", help="Do not read the file for its SHA-256.")] = False,
    rows: Annotated[int | None, typer.Option(min=0, help="How many rows the file has.")] = None,
    occurred_at: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="2026-03-29T06:00:00+02:00; local time without an offset; else: now.",
        ),
    ] = None,
    event_id: Annotated[
        str | None, typer.Option(help="The same id is the same event, and counts once.")
    ] = None,
    fingerprint: Annotated[str | None, typer.Option(help="What to group by, instead of the summary.")] = None,
    resolve: Annotated[bool, typer.Option("--resolve", help="Say that it is over.")] = False,
    extra: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="Anything else, up to 16 KiB; kept.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Many: a JSON object a line, as the API has it; -: standard input."
        ),
    ] = None,
    spool: Annotated[
        bool,
        typer.Option("--spool", help="Where Penstock does not answer, keep it in PENSTOCK_SPOOL for later."),
    ] = False,
    url: Url = LOCAL,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Report the error of a pipeline, or with --resolve its end; say what became of it.

    Exit code: 0 when it was accepted, or with --spool kept for later; 1 when it was refused, or there was no answer.
    """
    from penstock import logging_events
    from shared.client import described_file
    from shared.client.default_log import spool_from_environment

    given = (
        stage,
        reason,
        supplier,
        severity,
        summary,
        file,
        rows,
        occurred_at,
        event_id,
        fingerprint,
        extra,
    )
    folder = spool_from_environment() if spool else None
    if batch is not None:
        if any(value is not None for value in given) or resolve:
            raise typer.BadParameter(
                "its lines say all of it; leave the other options out", param_hint="--batch"
            )
        lines = None if batch == "-" else Path(batch)
        if lines and not lines.exists():
            raise typer.BadParameter(f"there is no file {batch}", param_hint="--batch")
        raise typer.Exit(logging_events.run_batch(lines, where(url, token), spool=folder, as_json=as_json))
    if stage is None or reason is None:
        raise typer.BadParameter("say where and what it was", param_hint="--stage, --reason")
    fields: EventFields = {
        "stage": stage,
        "reason": reason,
        "supplier": supplier,
        "severity": _severity(severity),
        "summary": None if summary is None else logging_events.summary_from(summary),
        "file": described_file(file, rows=rows, hashed=not no_hash) if file else None,
        "occurred_at": occurred_at,
        "event_id": event_id,
        "fingerprint": fingerprint,
        "action": "resolve" if resolve else None,
        "extra": None if extra is None else _extra(extra),
    }
    raise typer.Exit(logging_events.run(fields, where(url, token), spool=folder, as_json=as_json))


def _severity(said: str | None) -> "Severity | None":
    from shared.client.investigation_event import Severity

    known = get_args(Severity)
    if said is not None and said not in known:
        raise typer.BadParameter(f"{said!r} is none of: {', '.join(known)}", param_hint="--severity")
    return cast("Severity | None", said)


def _extra(said: str) -> object:
    from penstock.logging_events import extra_from

    try:
        return extra_from(said)
    except OSError as error:
        raise typer.BadParameter(
            f"{said[1:]} cannot be read: {error.strerror or error}", param_hint="--extra"
        ) from error
    except ValueError as error:
        raise typer.BadParameter(f"is no JSON: {error}", param_hint="--extra") from error
