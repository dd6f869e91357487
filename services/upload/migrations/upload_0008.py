"""Finding the newest imports, for `results`, which lists those whose event has not reached it."""

from alembic import op

revision = "upload_0008"
down_revision = "upload_0007"


def upgrade() -> None:
    op.execute("CREATE INDEX imports_newest ON upload.imports (tenant, uploaded_at)")
