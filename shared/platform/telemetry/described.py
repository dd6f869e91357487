"""`deploy/METRICS.md`, made from the declarations: `python -m shared.platform.telemetry.described > deploy/METRICS.md`."""

import sys
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from shared.platform.telemetry.figures import AT_SCRAPE, COUNTED

INTRODUCTION = """\
# Figures

What each process answers at `/metrics`, for Prometheus. Made from `shared/platform/telemetry/figures.py` by
`python -m shared.platform.telemetry.described`; a test says that it agrees. All times are in seconds.

No label says a tenant. Beside these there are `process_*` of Prometheus' client: processor time, memory, open files, start.
"""
COUNTED_HERE = """
## Counted as it happens, by each process for itself

To be summed over processes: `sum by (queue) (rate(penstock_messages_total[5m]))`. They begin anew with the process.
"""
READ_HERE = """
## Read when asked for

Queues, imports, deliveries and processes are the whole installation's: every process that shows them shows the same, so take
`max` over them. Connections, a consumer's idleness and free room are those of the process. What cannot be read within 4 s is left
out, never 0: alerts look for that. It is asked for every 2 s at most, however often somebody scrapes.
"""


def described() -> str:
    """All figures as Markdown."""
    counted = [
        (_name_of(figure), figure._type, figure._labelnames, figure._documentation) for figure in COUNTED
    ]
    read = [(figure.name, "gauge", figure.labels, figure.meaning) for figure in AT_SCRAPE]
    return "".join((INTRODUCTION, COUNTED_HERE, *_table(counted), READ_HERE, *_table(read)))


def labels() -> dict[str, frozenset[str]]:
    """The labels of each series that there may be, by its name; the three of each histogram included."""
    found = {figure.name: frozenset(figure.labels) for figure in AT_SCRAPE}
    for figure in COUNTED:
        name, given = _name_of(figure), frozenset(figure._labelnames)
        if isinstance(figure, Histogram):
            found |= {f"{name}_bucket": given | {"le"}, f"{name}_count": given, f"{name}_sum": given}
        else:
            found[name] = given
    return found


def _table(rows: Iterable[tuple[str, str, Iterable[str], str]]) -> Iterable[str]:
    yield "\n| name | kind | labels | what it says |\n|---|---|---|---|\n"
    for name, kind, of_labels, meaning in rows:
        yield f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in of_labels)} | {meaning} |\n"


def _name_of(figure: Counter | Gauge | Histogram) -> str:
    return f"{figure._name}_total" if isinstance(figure, Counter) else figure._name


if __name__ == "__main__":
    sys.stdout.write(described())
