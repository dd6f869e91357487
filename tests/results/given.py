"""What is there before a test acts: rows in the tables of other services, events, callers."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    AnyEvent,
    EventData,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    ImportProgressed,
    ImportResumed,
    ImportUploaded,
    event_of,
)
from shared.platform.auth import create_jwt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHA256 = "ab" * 32


def headers(secret: str, tenant: str = "acme", *scopes: str) -> dict[str, str]:
    token = create_jwt(
        secret,
        tenant=tenant,
        scopes=scopes or ("imports:read", "records:read"),
        audience="penstock",
        lifetime=timedelta(hours=1),
    )
    return {"Authorization": f"Bearer {token}"}


def uploaded(import_id: UUID, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": import_id,
        "dataset": "books",
        "source": "partner",
        "file_name": "books.csv",
        "file_size": 1000,
        "sha256": SHA256,
        "object_key": f"uploads/{import_id}",
        "dialect": Dialect(),
        "columns": {"isbn": 0},
        "column_count": 1,
        "rows_detected": 100,
        "uploaded_at": NOON,
    }
    return event_of(ImportUploaded(**values | data), tenant=tenant, subject=import_id, service="upload")


def progressed(import_id: UUID, rows: int, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {
        "import_id": import_id,
        "dataset": "books",
        "bytes_processed": rows * 10,
        "file_size": 1000,
        "rows_detected": 100,
        "processing_started_at": NOON,
        "rows_processed": rows,
        "rows_inserted": rows,
    }
    return event_of(ImportProgressed(**values | data), tenant=tenant, subject=import_id, service="processor")


def resumed(import_id: UUID, run: int, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    started = NOON + timedelta(minutes=run - 1)
    values = {"import_id": import_id, "dataset": "books", "run": run, "processing_started_at": started}
    return _by_processor(ImportResumed(**values | data), import_id, tenant)


def completed(import_id: UUID, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    counts = {"rows_processed": 100, "rows_inserted": 97, "rows_rejected": 3}
    return _by_processor(ImportCompleted(**_end(import_id) | counts | data), import_id, tenant)


def failed(import_id: UUID, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    reason = {"error_code": "file_unreadable", "error_message": "the file ends inside a quoted field"}
    counts = {"rows_processed": 40, "rows_inserted": 40}
    return _by_processor(ImportFailed(**_end(import_id) | reason | counts | data), import_id, tenant)


def cancelled(import_id: UUID, *, tenant: str = "acme", **data: Any) -> AnyEvent:
    counts = {"rows_processed": 50, "rows_inserted": 48, "rows_rejected": 2}
    return _by_processor(ImportCancelled(**_end(import_id) | counts | data), import_id, tenant)


def _by_processor(data: EventData, import_id: UUID, tenant: str) -> AnyEvent:
    return event_of(data, tenant=tenant, subject=import_id, service="processor")


def _end(import_id: UUID) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "dataset": "books",
        "source": "partner",
        "file_name": "books.csv",
        "processing_started_at": NOON,
        "processing_completed_at": NOON + timedelta(seconds=9),
    }


class Database:
    """Writes rows where the other services would have written them."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection

    async def uploaded_import(self, *, tenant: str = "acme", **values: Any) -> UUID:
        import_id = uuid4()
        await self._insert(
            "upload.imports",
            {
                "import_id": import_id,
                "tenant": tenant,
                "dataset": "books",
                "source": "partner",
                "file_name": "books.csv",
                "file_size": 1000,
                "sha256": SHA256,
                "object_key": f"uploads/{import_id}",
                "dialect": "{}",
                "columns": "{}",
                "column_count": 1,
                "rows_detected": 100,
                "uploaded_by": "token:1",
                "uploaded_at": NOON,
            }
            | {
                name: json.dumps(value) if isinstance(value, list | dict) else value
                for name, value in values.items()
            },
        )
        return import_id

    async def work(self, import_id: UUID, *, tenant: str = "acme", **values: Any) -> None:
        """The processor has the import in hand."""
        row = {
            "import_id": import_id,
            "tenant": tenant,
            "dataset": "books",
            "file_name": "books.csv",
            "file_size": 1000,
            "sha256": SHA256,
            "object_key": f"uploads/{import_id}",
            "dialect": "{}",
            "columns": "{}",
            "column_count": 1,
            "rows_detected": 100,
        }
        given = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()
        }
        await self._insert("processor.imports", row | given)

    async def error_count(self, import_id: UUID, code: str, column: str, count: int) -> None:
        row = {"import_id": import_id, "code": code, "column_name": column, "count": count}
        await self._insert("processor.error_counts", row)

    async def error_part(self, import_id: UUID, part: int, key: str, size: int) -> None:
        row = {"import_id": import_id, "part": part, "object_key": key, "size": size}
        await self._insert("processor.error_files", row)

    async def row_error(
        self, import_id: UUID, row_number: int, ordinal: int = 0, *, tenant: str = "acme", **values: Any
    ) -> None:
        row = {
            "tenant": tenant,
            "import_id": import_id,
            "row_number": row_number,
            "ordinal": ordinal,
            "line_number": row_number + 1,
            "byte_offset": row_number * 10,
            "column_name": "isbn",
            "code": "isbn_checksum",
            "message": "the check digit does not fit",
            "value": "978-0",
            "raw_data": "Momo,Ende,978-0,1973",
            "rule": "isbn",
            "hint": "look at the last digit",
        }
        await self._insert("processor.row_errors", row | values)

    async def receipt(self, import_id: UUID, *, tenant: str = "acme") -> None:
        await self._insert(
            "processor.receipts",
            {
                "import_id": import_id,
                "tenant": tenant,
                "dataset": "books",
                "dataset_version": 1,
                "file_name": "books.csv",
                "file_size": 1000,
                "sha256": SHA256,
                "dialect": "{}",
                "rows_read": 100,
                "rows_inserted": 97,
                "rows_rejected": 3,
                "started_at": NOON,
                "completed_at": NOON + timedelta(seconds=9),
            },
        )

    async def product(self, sku: str, *, tenant: str = "acme", **values: Any) -> None:
        row = {"tenant": tenant, "key": sku.lower(), "sku": sku, "name": f"Product {sku}"}
        await self._insert("data.products", row | values)

    async def book(self, isbn: str, *, tenant: str = "acme") -> None:
        row = {
            "tenant": tenant,
            "key": isbn,
            "isbn": isbn,
            "title": "Momo",
            "author": "Michael Ende",
            "publication_year": 1973,
            "import_id": uuid4(),
            "row_number": 7,
        }
        await self._insert("data.books", row)

    async def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values()
        )


def parsed(csv_text: str) -> list[list[str]]:
    return list(csv.reader(csv_text.splitlines()))
