"""Resumable uploads (tus 1.0)."""

from alembic import op

revision = "upload_0004"
down_revision = "upload_0003"


def upgrade() -> None:
    op.execute("SELECT 1")
