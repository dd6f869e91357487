"""Finding imports by more than their newest, and when each last changed, for those who follow all of a tenant's."""

from alembic import op

revision = "results_0004"
down_revision = "results_0003"

# What a list is filtered by, each in the order of the list.
FILTERED = ("dataset", "source", "status")


def upgrade() -> None:
    for column in FILTERED:
        op.execute(f"""
            CREATE INDEX imports_newest_of_{column} ON results.imports
            (tenant, {column}, uploaded_at DESC, import_id DESC) WHERE uploaded_at IS NOT NULL
        """)
    _changes()


def _changes() -> None:
    # Rows that are there get the time of the migration: it need not write them.
    op.execute("ALTER TABLE results.imports ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now()")
    op.execute("COMMENT ON COLUMN results.imports.changed_at IS 'By the clock, shortly before the commit'")
    op.execute("CREATE INDEX imports_changed ON results.imports (tenant, changed_at)")
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
