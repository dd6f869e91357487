"""Uploads that correct the row errors of an earlier import."""

revision = "upload_0006"
down_revision = "upload_0005"


def upgrade() -> None:
    pass
