"""Finding imports by more than their newest. While the indexes are built events wait to be merged; requests do not wait."""

from alembic import op

revision = "results_0005"
down_revision = "results_0004"

# What a list is filtered by, each in the order of the list.
FILTERED = ("dataset", "source", "status")


def upgrade() -> None:
    for column in FILTERED:
        op.execute(f"""
            CREATE INDEX imports_newest_of_{column} ON results.imports
            (tenant, {column}, uploaded_at DESC, import_id DESC) WHERE uploaded_at IS NOT NULL
        """)
    op.execute("CREATE INDEX imports_changed ON results.imports (tenant, changed_at)")
