"""When an import last moved: by that those that stand still are found. The version before leaves it as it was taken on."""

from alembic import op

revision = "processor_0016"
down_revision = "processor_0015"


def upgrade() -> None:
    # The default is the same for all rows that are there, so that none of them is written.
    op.execute("ALTER TABLE processor.imports ADD COLUMN moved_at timestamptz NOT NULL DEFAULT now()")
