"""What a sample of an import's records has, by column, is counted while it is read. The version before counts nothing."""

from alembic import op

revision = "processor_0014"
down_revision = "processor_0013"


def upgrade() -> None:
    op.execute("ALTER TABLE processor.imports ADD COLUMN profile jsonb NOT NULL DEFAULT '{}'")
    op.execute("""
        COMMENT ON COLUMN processor.imports.profile IS
        'By column: counts of the cells of the samples so far, and the sum of the logarithms of their positive numbers'
    """)
