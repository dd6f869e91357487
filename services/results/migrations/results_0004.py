"""Finding imports by more than their newest."""

revision = "results_0004"
down_revision = "results_0003"


def upgrade() -> None:
    pass
