"""Messages know when what they tell happened, and in which trace: the version before leaves both out."""

from alembic import op

revision = "notifier_0007"
down_revision = "notifier_0006"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE notifier.messages ADD COLUMN happened_at timestamptz, ADD COLUMN traceparent text"
    )
