"""Events as the processor would publish them."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    AnyEvent,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    ImportUploaded,
    event_of,
)

DONE_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def uploaded(*, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": uuid4(),
        "dataset": "books",
        "source": "acme-books",
        "file_name": "books.csv",
        "file_size": 1000,
        "sha256": "0" * 64,
        "object_key": "uploads/1",
        "dialect": Dialect(),
        "columns": {"title": 0, "isbn": 1},
        "column_count": 2,
        "header": ("Title", "ISBN"),
        "rows_detected": 10,
        "uploaded_at": DONE_AT,
        **data,
    }
    body = ImportUploaded.model_validate(values)
    return event_of(body, tenant=tenant, subject=body.import_id, service="upload")


def completed(*, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": uuid4(),
        "dataset": "books",
        "source": "acme-books",
        "file_name": "Bücher März.csv",
        "processing_started_at": DONE_AT,
        "processing_completed_at": DONE_AT,
        "rows_processed": 10,
        "rows_inserted": 10,
        **data,
    }
    body = ImportCompleted.model_validate(values)
    return event_of(body, tenant=tenant, subject=body.import_id, service="processor")


def failed(*, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": uuid4(),
        "dataset": "books",
        "source": "acme-books",
        "file_name": "books.csv",
        "error_code": "encoding_invalid",
        "error_message": "byte 17 is not UTF-8",
        "processing_started_at": None,
        "processing_completed_at": DONE_AT,
        **data,
    }
    body = ImportFailed.model_validate(values)
    return event_of(body, tenant=tenant, subject=body.import_id, service="processor")


def cancelled(*, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": uuid4(),
        "dataset": "books",
        "source": "acme-books",
        "file_name": "books.csv",
        "processing_started_at": DONE_AT,
        "processing_completed_at": DONE_AT,
        "rows_processed": 4,
        "rows_inserted": 3,
        "rows_rejected": 1,
        **data,
    }
    body = ImportCancelled.model_validate(values)
    return event_of(body, tenant=tenant, subject=body.import_id, service="processor")
