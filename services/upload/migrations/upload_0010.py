"""Finding imports that still have their file. While the index is built uploads wait; nobody else does."""

from alembic import op

revision = "upload_0010"
down_revision = "upload_0009"


def upgrade() -> None:
    op.execute("CREATE INDEX imports_with_file ON upload.imports (uploaded_at) WHERE file_removed_at IS NULL")
