"""Which errors belong together, and what an import reports by itself. Pure.

Errors are one investigation when supplier, stage, reason and the normalised detail are the same for a tenant:
what differs from one occurrence to the next (numbers, ids, paths, file names) is collapsed first.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args
from uuid import UUID

from shared.contracts.datasets import row_errors_in
from shared.contracts.events import AnyEvent, Counts, ImportCompleted, ImportFailed

# Stored with every fingerprint: new rules make a new version, and old groups stay what they were.
FINGERPRINT_VERSION = "v1"
DETAIL_LENGTH = 500  # characters that count; two errors that differ only after them are the same

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the mildest first
Action = Literal["trigger", "resolve"]
Origin = Literal["api", "import", "endpoint", "analysis", "clickhouse", "job"]
Kind = tuple[str | None, str, str]  # supplier, stage, reason

LATE = timedelta(minutes=5)  # between what occurred and our hearing of it
REMEMBERED = 20_000  # of what is reported again and again; some MB
DIGEST_BYTES = 16  # of SHA-256: enough, and there are millions of them
_sorted = json.JSONEncoder(sort_keys=True, check_circular=False).encode

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_HASH = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,}\b")
_FILE = re.compile(r"\.(csv|tsv|txt|dat|xlsx?|ods|json|xml|pdf|zip|gz|eml|log)\W*$")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(slots=True)  # not frozen: that takes as long as all else that makes one
class Reported:
    """One error as somebody reported it, or that it is over. Nobody changes it.

    Attributes:
        event_id: Unique within the tenant; the same id again is the same event.
        detail: What tells two errors of the same reason apart, before normalisation.
        digest: Of what was sent, to tell a repetition from another event with the same id; None: the id is made of it.
        action: `resolve` ends the errors of its fingerprint that occurred before it; without detail and `given`, of all
            fingerprints of its supplier, stage and reason.
        given: The fingerprint that the reporter names, in place of the detail.
        event_id_derived: The reporter gave no id.
        received_at: None: now.
        file: `path`, and what is known of `sha256`, `size` in bytes, `rows`.
    """

    event_id: str
    occurred_at: datetime
    supplier: str | None
    stage: str
    reason: str
    severity: Severity
    summary: str | None
    detail: str
    digest: bytes | None
    origin: Origin
    event_id_derived: bool = False
    action: Action = "trigger"
    given: str | None = None
    import_id: UUID | None = None
    received_at: datetime | None = None
    file: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None
    fingerprint: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once: it is asked for again and again while others wait for the tenant's investigations.
        self.fingerprint = fingerprint(self.supplier, self.stage, self.reason, self.detail, self.given)

    @property
    def kind(self) -> Kind:
        return self.supplier, self.stage, self.reason

    @property
    def resolves(self) -> bool:
        return self.action == "resolve"


def fingerprint(
    supplier: str | None, stage: str, reason: str, detail: str = "", given: str | None = None
) -> str:
    """The group, within its tenant, that an error belongs to: `v1:` and a hash."""
    if given is not None:
        return _hashed("given", given, supplier, stage, reason)
    return _hashed(supplier, stage, reason, normalised(detail))


@lru_cache(maxsize=REMEMBERED)
def _hashed(*what: str | None) -> str:
    parts = json.dumps(what)
    return f"{FINGERPRINT_VERSION}:{hashlib.sha256(parts.encode()).hexdigest()}"


@lru_cache(maxsize=REMEMBERED)
def normalised(detail: str) -> str:
    """`detail` in lower case, single-spaced, with paths, file names, ids and numbers collapsed."""
    words = " ".join([_collapsed_word(word) for word in detail.casefold().split()])
    words = _HASH.sub("<id>", _UUID.sub("<id>", words))
    return _NUMBER.sub("<n>", words)[:DETAIL_LENGTH]


def _collapsed_word(word: str) -> str:
    is_path = "/" in word or "\\" in word or ("." in word and _FILE.search(word))
    return "<path>" if is_path else word


def digest_of(document: Mapping[str, Any]) -> bytes:
    """The first 16 bytes of the SHA-256 of a JSON document, whatever the order of its members."""
    return hashlib.sha256(_sorted(document).encode()).digest()[:DIGEST_BYTES]


def from_import(event: AnyEvent) -> Reported | None:
    """What the end of an import reports: its failure, or that it had row errors. None: nothing was wrong, or only tried."""
    data = event.data
    if isinstance(data, ImportFailed | ImportCompleted) and data.dry_run:
        return None
    if isinstance(data, ImportFailed):
        summary = f"import of {data.file_name} failed: {data.error_message}"
        return _by_import(event, data, "import_failed", summary, detail=data.error_code)
    if isinstance(data, ImportCompleted) and (count := _row_errors(data)):
        duplicate = count - data.rows_rejected
        what = f"{data.rows_rejected} rejected" + (f" and {duplicate} duplicate" if duplicate else "")
        summary = f"{what} of {data.rows_processed} records in {data.file_name}"
        return _by_import(event, data, "row_errors", summary, detail=data.dataset)
    return None


def _row_errors(data: ImportCompleted) -> int:
    return row_errors_in(data.dataset, rejected=data.rows_rejected, duplicate=data.rows_duplicate)


def _by_import(
    event: AnyEvent, data: ImportFailed | ImportCompleted, reason: str, summary: str, *, detail: str
) -> Reported:
    counts = {name: getattr(data, name) for name in Counts.model_fields}
    return Reported(
        event_id=f"penstock:{event.id}",
        occurred_at=data.processing_completed_at,
        supplier=data.source,
        stage="process",
        reason=reason,
        severity="error" if reason == "import_failed" else "warning",
        summary=summary,
        detail=detail,
        digest=digest_of(event.model_dump(mode="json")),
        origin="import",
        import_id=data.import_id,
        file={"path": data.file_name},
        extra={"import_id": str(data.import_id), "dataset": data.dataset, **counts},
    )
