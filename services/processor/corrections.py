"""What one transaction does about corrections: it notes which lines have row errors, and closes those that are mended.

A record that was refused is known by its line, as that is what an error file tells of it. Where the refused record was
itself to correct a line of an earlier import, that is noted beside it; so a chain of corrections is followed to its
beginning.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Text,
    TextClause,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.corrected import Refused, Sent
from services.processor.repository import Work
from services.processor.tables import imports, refused_lines, resent
from shared.contracts.datasets import Dataset
from shared.contracts.options import DateOrder

LINES_A_ROW = 5_000  # some 40 kB
NO_ROW_ERROR = "line_without_row_error"  # a note: a record corrects a line that has none
NOT_KNOWN = (
    "line_not_known"  # the same of an import that a processor did which noted no lines: perhaps it has one
)

# The load before may have ruled out all but nested loops, and these joins know nothing of how much they will find.
_PLAN = """
    SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'off', true)
"""

_NOTE_DUPLICATES = """
    INSERT INTO processor.refused_lines (import_id, first_line, last_line, line_numbers, of_lines)
    SELECT :import_id, min(d.line_number), max(d.line_number), array_agg(d.line_number), array_agg(s.of_line)
    FROM processor.duplicates d LEFT JOIN (
        SELECT u.row_number, u.of_line
        FROM processor.resent r CROSS JOIN unnest(r.row_numbers, r.of_lines) AS u (row_number, of_line)
        WHERE r.import_id = :import_id
    ) s USING (row_number)
    WHERE d.import_id = :import_id AND d.row_number >= :from_row
    GROUP BY (d.row_number - 1) / :lines_a_row
"""

# Of a line that is sent more than once, the first record closes it. What the records were to correct further back is sent
# onward. Where a processor did the corrected import that noted no lines, its row errors tell them, as far as they are kept.
_CLOSE = """
    WITH sent AS MATERIALIZED (
        SELECT u.row_number, u.line_number
        FROM processor.resent r CROSS JOIN unnest(r.row_numbers, r.of_lines) AS u (row_number, line_number)
        WHERE r.import_id = :import_id AND r.of_import = :of_import AND r.first_row = :first_row
            AND NOT EXISTS (
                SELECT FROM processor.duplicates d WHERE d.import_id = :import_id AND d.row_number = u.row_number
            )
    ), hit AS MATERIALIZED (
        SELECT sent.row_number, line_number, refused.of_line
        FROM sent JOIN (
            SELECT line_number, max(of_line) AS of_line
            FROM (
                SELECT u.line_number, u.of_line
                FROM processor.refused_lines r CROSS JOIN unnest(r.line_numbers, r.of_lines) AS u (line_number, of_line)
                WHERE r.import_id = :of_import
                    AND r.last_line >= (SELECT min(line_number) FROM sent)
                    AND r.first_line <= (SELECT max(line_number) FROM sent)
                UNION ALL
                SELECT line_number, NULL
                FROM processor.row_errors
                WHERE tenant = :tenant AND import_id = :of_import
            ) known
            GROUP BY line_number
        ) refused USING (line_number)
    ), closed AS (
        INSERT INTO processor.fixes (tenant, import_id, line_number, by_import, by_row)
        SELECT :tenant, :of_import, line_number, :import_id, row_number FROM hit ORDER BY line_number, row_number
        ON CONFLICT DO NOTHING
        RETURNING line_number
    ), counted AS (
        INSERT INTO processor.corrections AS c (tenant, import_id, by_import, rows_fixed)
        SELECT :tenant, :of_import, :import_id, count(*) FROM closed HAVING count(*) > 0
        ON CONFLICT (import_id, by_import) DO UPDATE SET rows_fixed = c.rows_fixed + excluded.rows_fixed
    ), onward AS (
        INSERT INTO processor.resent (import_id, of_import, first_row, row_numbers, of_lines)
        SELECT :import_id, i.corrects, min(hit.row_number), array_agg(hit.row_number), array_agg(hit.of_line)
        FROM hit CROSS JOIN processor.imports i
        WHERE i.import_id = :of_import AND i.tenant = :tenant AND i.corrects IS NOT NULL AND hit.of_line IS NOT NULL
        GROUP BY i.corrects
    ), taken AS (
        DELETE FROM processor.resent
        WHERE import_id = :import_id AND of_import = :of_import AND first_row = :first_row
    )
    SELECT (SELECT count(*) FROM sent) - (SELECT count(*) FROM hit)
"""


async def note_refused(connection: AsyncConnection, work: Work, refused: Refused) -> None:
    """Note the lines of records that were found wrong."""
    rows = [
        {
            "import_id": work.import_id,
            "first_line": min(lines),
            "last_line": max(lines),
            "line_numbers": lines,
            "of_lines": refused.of_lines[start : start + LINES_A_ROW],
        }
        for start in range(0, len(refused.line_numbers), LINES_A_ROW)
        if (lines := refused.line_numbers[start : start + LINES_A_ROW])
    ]
    if rows:
        await connection.execute(insert(refused_lines), rows)


async def note_sent(connection: AsyncConnection, work: Work, sent: Sent) -> None:
    """Keep which records correct which lines, until `close_errors`."""
    if sent.row_numbers:
        row = {"of_import": work.corrects, "row_numbers": sent.row_numbers, "of_lines": sent.of_lines}
        await connection.execute(
            insert(resent).values(import_id=work.import_id, first_row=sent.row_numbers[0], **row)
        )


async def note_duplicates(connection: AsyncConnection, work: Work, *, from_row: int) -> None:
    """Note the lines of records from `from_row` on that were refused as duplicates, while these are listed."""
    values = {"import_id": work.import_id, "from_row": from_row, "lines_a_row": LINES_A_ROW}
    await connection.execute(text(_PLAN))
    await connection.execute(_statement(_NOTE_DUPLICATES), values)


async def close_errors(connection: AsyncConnection, work: Work) -> int:
    """Close the row errors that the records kept by `note_sent` correct, now that all but duplicates are loaded.

    Returns:
        How many of them correct a line that has no row error.
    """
    await connection.execute(text(_PLAN))
    without = 0
    while (part := await _next_part(connection, work)) is not None:
        values = {
            "tenant": work.tenant,
            "import_id": work.import_id,
            "of_import": part.of_import,
            "first_row": part.first_row,
        }
        missed: int = (await connection.execute(_statement(_CLOSE), values)).scalar_one()
        without += missed if part.of_import == work.corrects else 0
    return without


async def knows_all(connection: AsyncConnection, work: Work, dataset: Dataset) -> bool:
    """Whether all lines with row errors of the import that this one corrects were noted."""
    noted = (
        select(func.sum(func.cardinality(refused_lines.c.line_numbers)))
        .where(refused_lines.c.import_id == work.corrects)
        .scalar_subquery()
    )
    found = await connection.execute(
        select(imports.c.rows_rejected, imports.c.rows_duplicate, noted.label("noted")).where(
            *_corrected(work)
        )
    )
    row = found.one_or_none()
    if row is None:
        return False
    return int(row.noted or 0) >= dataset.row_errors_in(
        rejected=row.rows_rejected, duplicate=row.rows_duplicate
    )


async def find_date_orders(connection: AsyncConnection, work: Work) -> Mapping[str, DateOrder] | None:
    """How the import that this one corrects has read its dates; None: it has read no record."""
    orders: Mapping[str, DateOrder] | None = await connection.scalar(
        select(imports.c.date_orders).where(*_corrected(work))
    )
    return orders


async def forget_sent(connection: AsyncConnection, import_id: UUID) -> None:
    """Forget which records correct which lines: they will not be loaded."""
    await connection.execute(delete(resent).where(resent.c.import_id == import_id))


def _corrected(work: Work) -> tuple[ColumnElement[bool], ...]:
    return imports.c.import_id == work.corrects, imports.c.tenant == work.tenant


async def _next_part(connection: AsyncConnection, work: Work) -> Row[UUID, int] | None:
    parts = (
        select(resent.c.of_import, resent.c.first_row)
        .where(resent.c.import_id == work.import_id)
        .order_by(resent.c.first_row)
        .limit(1)
    )
    return (await connection.execute(parts)).one_or_none()


def _statement(sql: str) -> TextClause:
    types: dict[str, Any] = {"import_id": Uuid, "of_import": Uuid, "tenant": Text}
    return text(sql).bindparams(
        *(bindparam(name, type_=kind) for name, kind in types.items() if f":{name}" in sql)
    )
