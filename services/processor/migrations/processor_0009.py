"""Everything that the read model of imports is rebuilt from."""

revision = "processor_0009"
down_revision = "processor_0008"


def upgrade() -> None:
    pass
