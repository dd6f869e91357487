"""The bundled sample files, and how each must end."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from penstock.importing import Order, complain, follow, send_and_follow
from penstock.progress import ImportProgress, say, summary
from shared.client import ENDED, ClientError, Json, PenstockClient, Refused

FOLDER = Path(__file__).parent.parent / "samples"
SOURCE = "Penstock samples"
SETTLE_SECONDS = (
    2.0  # an upload that was accepted just before a crash gets into the list of imports meanwhile
)


@dataclass(frozen=True)
class Sample:
    """A file, its dataset, and members of the import as it must end (`status`, counts)."""

    path: Path
    dataset: str
    expected: Json


def bundled(folder: Path = FOLDER) -> tuple[Sample, ...]:
    """The samples that `expected.json` names; none where the installation carries no samples."""
    listing = folder / "expected.json"
    if not listing.exists():
        return ()
    return tuple(
        Sample(folder / name, entry["dataset"], entry["expected"])
        for name, entry in json.loads(listing.read_text("utf-8")).items()
    )


def import_all(
    client: PenstockClient, samples: Sequence[Sample], console: Console, *, begun_before: bool
) -> list[str]:
    """Import the samples that are not there yet, follow those under way, and compare how all of them ended.

    Args:
        client: Of a tenant whose imports may have the samples.
        samples: Those to import.
        console: Shows progress and outcome.
        begun_before: Whether an earlier start may have uploaded some.

    Returns:
        What is not as it must be; nothing if all is well.
    """
    try:
        known = _imported(client)
        if begun_before and not all(sample.path.name in known for sample in samples):
            time.sleep(SETTLE_SECONDS)
            known = _imported(client)
        return [fault for sample in samples for fault in _import_one(client, sample, known, console)]
    except (ClientError, OSError) as error:
        complain(console, error)
        return [str(error)]


def _imported(client: PenstockClient) -> dict[str, Json]:
    return {found["file_name"]: found for found in client.imports(source=SOURCE)}


def _import_one(
    client: PenstockClient, sample: Sample, known: dict[str, Json], console: Console
) -> Iterator[str]:
    name = sample.path.name
    before = known.get(name)
    if before is None:
        final = _send(client, sample, console)
    elif before["status"] in ENDED:
        final = before
    else:
        with ImportProgress(console, name, before["file_size"]) as progress:
            final = follow(client, before["id"], progress)
    earlier = " (before this start)" if final is before else ""
    say(console, f"{name} → {sample.dataset}: {summary(final)}{earlier}")
    yield from differences(sample, final)


def _send(client: PenstockClient, sample: Sample, console: Console) -> Json:
    """The import of a sample, or the one that somebody else has made of the same file."""
    try:
        return send_and_follow(client, Order(sample.path, sample.dataset, SOURCE), console)
    except Refused as error:
        if error.code != "file_already_imported":
            raise
        earlier = error.document["import_id"]
        for _ in client.follow(earlier):
            pass
        return client.import_status(earlier)


def differences(sample: Sample, final: Json) -> Iterator[str]:
    """Where an import ended otherwise than its sample must, one sentence each."""
    for member, expected in sample.expected.items():
        if final[member] != expected:
            yield f"{sample.path.name}: {member} is {final[member]!r}, must be {expected!r}"
