"""Finding what stands still or is old: imports, edits, and the events that were handled.

While the indexes are built, these wait, and no reader.
"""

from alembic import op

revision = "processor_0018"
down_revision = "processor_0017"


def upgrade() -> None:
    op.execute("LOCK TABLE processor.imports, processor.inbox, processor.edits IN SHARE MODE")
    op.execute("CREATE INDEX imports_by_move ON processor.imports (moved_at) WHERE status = 'processing'")
    op.execute("CREATE INDEX imports_with_details ON processor.imports (finished_at) WHERE details_kept")
    op.execute("CREATE INDEX inbox_by_time ON processor.inbox (handled_at)")
    op.execute("CREATE INDEX edits_by_time ON processor.edits (edited_at)")
