"""Single edits of records, and what became of them."""

revision = "processor_0005"
down_revision = "processor_0004"


def upgrade() -> None:
    pass
