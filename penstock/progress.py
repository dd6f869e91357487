"""What a person sees of an import in the terminal: bytes going up, records going through, the balance."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from shared.client import Json

OUTCOMES = ("inserted", "updated", "unchanged", "duplicate", "rejected")
LOADS = frozenset({"inserted", "updated"})  # what a dry run does not do
ERRORS_SHOWN = 5


def say(console: Console, text: str, **style: Any) -> None:
    """Print `text` as it is: no markup, no colours by guess, no line breaks that would spoil a copy."""
    console.print(text, markup=False, highlight=False, soft_wrap=True, **style)


class ImportProgress:
    """One file's way: a bar of bytes, then a bar of records. Where there is no terminal, a line for each phase."""

    def __init__(self, console: Console, file_name: str, size: int) -> None:
        """`size` is the file's, in bytes."""
        self._console = console
        self._file_name = file_name
        self._size = size
        self._status = ""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(f"{file_name}  upload", total=size or None, amount="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def sent(self, count: int) -> None:
        """So many bytes are on their way."""
        amount = f"{megabytes(count)} of {megabytes(self._size)}"
        self._bar.update(self._task, completed=count, amount=amount)

    def show(self, state: Json) -> None:
        """The import now stands like this."""
        status, done, total = state["status"], state["rows_processed"], state["rows_detected"]
        stage = f"dry run {status}" if state["dry_run"] else status
        self._bar.update(
            self._task,
            description=f"{self._file_name}  {stage}",
            total=total or None,
            completed=done,
            amount=f"{done:,} of {total:,} records",
        )
        if status != self._status and not self._console.is_terminal:
            say(self._console, f"{self._file_name}: {stage}, {done:,} of {total:,} records")
        self._status = status


def megabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.1f} kB"


def summary(state: Json) -> str:
    """The counts of an import that are not zero, in one line."""
    counts = [
        f"{state[f'rows_{name}']:,} {outcome(name, state)}" for name in OUTCOMES if state[f"rows_{name}"]
    ]
    kind = "dry run " if state["dry_run"] else ""
    return f"{kind}{state['status']}, {state['rows_processed']:,} records: {', '.join(counts) or 'nothing loaded'}"


def outcome(name: str, state: Json) -> str:
    """What became of records, or would become of them: inserted, would be inserted."""
    return f"would be {name}" if state["dry_run"] and name in LOADS else name


def balance_table(final: Json) -> Table:
    """The balance of a completed import: what was read, and what became of it."""
    table = Table(title=Text(f"{final['file_name']} → {final['dataset']}"), title_justify="left")
    table.add_column("records")
    table.add_column("count", justify="right")
    table.add_row("read", f"{final['rows_processed']:,}", end_section=True)
    for name in OUTCOMES:
        table.add_row(outcome(name, final), f"{final[f'rows_{name}']:,}")
    return table


def row_error_lines(state: Json) -> list[str]:
    """The import's first row errors, one line each."""
    return [
        f"line {error['line_number']}, record {error['row_number']}: {error['message']} ({error['code']})"
        for error in state["errors_preview"][:ERRORS_SHOWN]
    ]
