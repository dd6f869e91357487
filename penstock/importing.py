"""`penstock import`: one file to a Penstock anywhere, watched to its end."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from penstock.progress import ImportProgress, receipt_table, row_error_lines, say, summary
from shared.client import ClientError, Json, PenstockClient, Refused
from shared.contracts.datasets import row_errors_in

CLEAN, FAILED, WITH_ROW_ERRORS = 0, 1, 3  # exit codes
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class Order:
    """What to import. `source` is who sent the file."""

    file: Path
    dataset: str
    source: str | None


def run(order: Order, *, url: str, token: str, as_json: bool) -> int:
    """Import and report; the report goes to standard output, all else to standard error.

    Returns:
        CLEAN, WITH_ROW_ERRORS (completed, but records are missing), FAILED (refused, failed, unreachable) or
        INTERRUPTED (by Ctrl-C).
    """
    errors = Console(stderr=True)
    try:
        with PenstockClient(url, token) as client:
            final = send_and_follow(client, order, errors)
            receipt = client.receipt(final["id"]) if final["status"] == "completed" else None
    except (ClientError, OSError) as error:
        complain(errors, error)
        return FAILED
    except KeyboardInterrupt:
        say(errors, "Stopped watching; an import that was accepted goes on without us.")
        return INTERRUPTED
    if as_json:
        say(Console(), json.dumps(final, indent=2, ensure_ascii=False))
    else:
        _report(final, receipt, url)
    if receipt is None:
        say(errors, f"{final['status']}: {final['error_message']} ({final['error_code']})", style="red")
        return FAILED
    return WITH_ROW_ERRORS if has_row_errors(final) else CLEAN


def send_and_follow(client: PenstockClient, order: Order, console: Console) -> Json:
    """Upload the file and wait for the import's end, in view of `console`. Returns the import as it ended."""
    with ImportProgress(console, order.file.name, order.file.stat().st_size) as progress:
        accepted = client.upload(
            order.file, dataset=order.dataset, source=order.source, on_sent=progress.sent
        )
        return follow(client, accepted["id"], progress)


def follow(client: PenstockClient, import_id: str, progress: ImportProgress) -> Json:
    """Wait for the import's end. Returns the import as it ended."""
    for state in client.follow(import_id):
        progress.show(state)
    return client.import_status(import_id)


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


def _report(final: Json, receipt: Json | None, url: str) -> None:
    console = Console()
    if receipt is None:
        say(console, summary(final))
        return
    console.print(receipt_table(receipt))
    for line in row_error_lines(final):
        say(console, line)
    if has_row_errors(final):
        say(console, f"All row errors: {url.rstrip('/')}{final['links']['errors']}")
