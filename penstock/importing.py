"""`penstock import`, `retry`, `cancel`: one import in a Penstock anywhere, watched to its end."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from rich.console import Console

from penstock.opening import shown
from penstock.progress import ImportProgress, balance_table, row_error_lines, say, summary
from shared.client import ClientError, Json, PenstockClient, Refused
from shared.contracts.datasets import row_errors_in

CLEAN, FAILED, WITH_ROW_ERRORS = 0, 1, 3  # exit codes
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class Order:
    """What to import. `source` is who sent the file, `fields` what else to ask, as `POST /uploads` names it.

    Without a dataset it is that of the import that the file `corrects`.
    """

    file: Path
    dataset: str | None
    source: str | None
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """A Penstock, and what opens it."""

    url: str
    token: str


class StoppedWatching(KeyboardInterrupt):
    """Ctrl-C while an import is followed. It goes on."""

    def __init__(self, import_id: str) -> None:
        super().__init__()
        self.import_id = import_id


Work = Callable[[PenstockClient, Console], Json]


def run(order: Order, where: Where, *, as_json: bool) -> int:
    """Import and report.

    Returns:
        CLEAN, WITH_ROW_ERRORS (completed, but records are missing), FAILED (refused, failed, cancelled, unreachable) or
        INTERRUPTED (by Ctrl-C).
    """
    return _reported(
        lambda client, console: send_and_follow(client, order, console), where, as_json, outcome=_exit_code
    )


def retry(import_id: UUID, where: Where, *, as_json: bool) -> int:
    """Let a failed import go on and report as `run` does, with its exit codes."""

    def go_on(client: PenstockClient, console: Console) -> Json:
        failed_run = client.retry(import_id)["run"]
        return _follow_known(client, import_id, console, beyond_run=failed_run)

    return _reported(go_on, where, as_json, outcome=_exit_code)


def cancel(import_id: UUID, where: Where, *, as_json: bool) -> int:
    """End an import and report what it had loaded; CLEAN if that was in time, else FAILED."""

    def end(client: PenstockClient, console: Console) -> Json:
        client.cancel(import_id)
        return _follow_known(client, import_id, console)

    return _reported(
        end, where, as_json, outcome=lambda final: CLEAN if final["status"] == "cancelled" else FAILED
    )


def send_and_follow(client: PenstockClient, order: Order, console: Console) -> Json:
    """Upload the file and wait for the import's end, in view of `console`. Returns the import as it ended."""
    with ImportProgress(console, shown(Path(order.file.name)), order.file.stat().st_size) as progress:
        accepted = client.upload(
            order.file,
            dataset=order.dataset,
            source=order.source,
            fields=order.fields,
            on_sent=progress.sent,
            on_wait=lambda error, seconds: say(
                console, f"{error} ({error.code}); sending again in {seconds} s"
            ),
        )
        return follow(client, accepted["id"], progress)


def follow(client: PenstockClient, import_id: str, progress: ImportProgress, *, beyond_run: int = 0) -> Json:
    """Wait for the import's end. Returns the import as it ended.

    Raises:
        StoppedWatching: Ctrl-C came.
    """
    try:
        for state in client.follow(import_id, beyond_run=beyond_run):
            progress.show(state)
        return client.import_status(import_id)
    except KeyboardInterrupt:
        raise StoppedWatching(import_id) from None


def has_row_errors(final: Json) -> bool:
    """Whether records of the file were not loaded; an overwritten duplicate is no error."""
    return (
        row_errors_in(final["dataset"], rejected=final["rows_rejected"], duplicate=final["rows_duplicate"])
        > 0
    )


def complain(console: Console, error: ClientError | OSError) -> None:
    """Say what went wrong and what to do about it."""
    code = f" ({error.code})" if isinstance(error, Refused) else ""
    say(console, f"{error}{code}", style="red")
    hint = error.hint if isinstance(error, ClientError) else None
    if hint:
        say(console, f"hint: {hint}")


def _reported(work: Work, where: Where, as_json: bool, *, outcome: Callable[[Json], int]) -> int:
    """Do it and report: the report goes to standard output, all else to standard error. Returns the exit code."""
    errors = Console(stderr=True)
    try:
        with PenstockClient(where.url, where.token) as client:
            final = work(client, errors)
    except (ClientError, OSError) as error:
        complain(errors, error)
        return FAILED
    except StoppedWatching as stopped:
        cancelling = shlex.join(["penstock", "cancel", stopped.import_id, "--url", where.url])
        say(errors, f"Stopped watching; the import goes on without us. To end it: {cancelling}")
        return INTERRUPTED
    except KeyboardInterrupt:
        say(errors, "Stopped; an import that was accepted already goes on without us.")
        return INTERRUPTED
    if as_json:
        say(Console(), json.dumps(final, indent=2, ensure_ascii=False))
    else:
        _report(final, where.url)
    if final["status"] == "failed":
        say(errors, f"failed: {final['error_message']} ({final['error_code']})", style="red")
    return outcome(final)


def _follow_known(client: PenstockClient, import_id: UUID, console: Console, *, beyond_run: int = 0) -> Json:
    shown = client.import_status(import_id)
    with ImportProgress(console, shown["file_name"], shown["file_size"]) as progress:
        return follow(client, str(import_id), progress, beyond_run=beyond_run)


def _exit_code(final: Json) -> int:
    if final["status"] != "completed":
        return FAILED
    return WITH_ROW_ERRORS if has_row_errors(final) else CLEAN


def _report(final: Json, url: str) -> None:
    console = Console()
    if final["status"] == "completed":
        console.print(balance_table(final))
        if final["dry_run"]:
            say(console, "This was a dry run: nothing was loaded.")
    else:
        say(console, summary(final))
    for warning in final["warnings"]:
        say(console, f"note: {warning['message']} ({warning['code']})")
    for line in row_error_lines(final):
        say(console, line)
    if has_row_errors(final):
        where = f"{url.rstrip('/')}{final['links']['errors_csv']}"
        say(console, f"All of them, in a file to mend and send again: {where}")
        if not final["dry_run"]:
            say(console, f"Mended, it closes them: penstock import FILE --corrects {final['id']}")
