"""Corrections: which records of a later import mend the row errors of an earlier one."""

revision = "processor_0007"
down_revision = "processor_0006"


def upgrade() -> None:
    pass
