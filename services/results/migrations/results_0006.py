"""Finding the events that were handled long ago. While the index is built events wait to be merged; requests do not wait."""

from alembic import op

revision = "results_0006"
down_revision = "results_0005"


def upgrade() -> None:
    op.execute("CREATE INDEX inbox_by_time ON results.inbox (handled_at)")
