"""Where each slice began, so that any record of a file is found by its number."""

revision = "processor_0008"
down_revision = "processor_0007"


def upgrade() -> None:
    pass
