"""A cancel may be heard before its import is: both wait in queues of their own. The version before asks again for it."""

from alembic import op

revision = "processor_0015"
down_revision = "processor_0014"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE processor.early_cancels (
            import_id uuid PRIMARY KEY,
            heard_at  timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        COMMENT ON TABLE processor.early_cancels IS
        'Imports whose cancel was heard before they were; they end as they are taken on'
    """)
