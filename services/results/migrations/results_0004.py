"""When each import last changed, for those who follow all of a tenant's."""

from alembic import op

revision = "results_0004"
down_revision = "results_0003"


def upgrade() -> None:
    # Rows that are there have none until they change: nothing is written, and nobody is told of them as news.
    op.execute("ALTER TABLE results.imports ADD COLUMN changed_at timestamptz")
    op.execute("COMMENT ON COLUMN results.imports.changed_at IS 'By the clock, shortly before the commit'")
    # By a trigger, because the version before this one writes here as well while both run.
    op.execute("""
        CREATE FUNCTION results.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_at := clock_timestamp();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER note_change BEFORE INSERT OR UPDATE ON results.imports
        FOR EACH ROW EXECUTE FUNCTION results.note_change()
    """)
