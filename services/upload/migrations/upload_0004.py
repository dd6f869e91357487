"""Resumable uploads (tus 1.0): where each one stands, its parts in the store, and what is made of several."""

from alembic import op

revision = "upload_0004"
down_revision = "upload_0003"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE upload.tus_uploads (
            id uuid PRIMARY KEY,
            tenant text NOT NULL,
            subject text NOT NULL,
            kind text NOT NULL CHECK (kind IN ('whole', 'partial', 'final')),
            concat text,
            metadata text,
            file_name text NOT NULL,
            fields jsonb NOT NULL,
            length bigint CHECK (length >= 0),
            max_bytes bigint NOT NULL,
            slot timestamptz,
            received bigint NOT NULL DEFAULT 0 CHECK (received >= 0),
            parts integer NOT NULL DEFAULT 0,
            fence bigint NOT NULL DEFAULT 0,
            state text NOT NULL DEFAULT 'receiving'
                CHECK (state IN ('receiving', 'checking', 'accepted', 'refused')),
            problem json,
            finish_owner bigint,
            expires_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CHECK (received <= length),
            CHECK (state = 'receiving' OR received = length),
            CHECK ((state = 'refused') = (problem IS NOT NULL))
        )
    """)
    op.execute("COMMENT ON COLUMN upload.tus_uploads.id IS 'Also the id of the import that it becomes'")
    op.execute(
        "COMMENT ON COLUMN upload.tus_uploads.fence IS"
        " 'Who writes: each PATCH takes the next one, and nothing of an older one counts from then on'"
    )
    op.execute("CREATE INDEX tus_uploads_by_expiry ON upload.tus_uploads (expires_at)")
    op.execute("CREATE INDEX tus_uploads_of_tenant ON upload.tus_uploads (tenant)")
    op.execute("""
        CREATE TABLE upload.tus_parts (
            object_key text PRIMARY KEY,
            upload_id uuid NOT NULL,
            start bigint NOT NULL CHECK (start >= 0),
            size integer NOT NULL CHECK (size > 0),
            state text NOT NULL DEFAULT 'intended'
                CHECK (state IN ('intended', 'kept', 'doomed', 'abandoned')),
            fence bigint NOT NULL,
            owner bigint NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute(
        "COMMENT ON TABLE upload.tus_parts IS"
        " 'Pieces of uploads in the store. A row is there before its object and goes after it, so none is ever unknown'"
    )
    op.execute(
        "COMMENT ON COLUMN upload.tus_parts.state IS"
        " 'intended: may be in the store; kept: counts; doomed: was kept, is to go; abandoned: was intended, is to go'"
    )
    op.execute("CREATE INDEX tus_parts_of_upload ON upload.tus_parts (upload_id, start)")
    op.execute("CREATE INDEX tus_parts_not_kept ON upload.tus_parts (began_at) WHERE state <> 'kept'")
    op.execute("""
        CREATE TABLE upload.tus_concatenations (
            final_id uuid REFERENCES upload.tus_uploads ON DELETE CASCADE,
            position integer,
            partial_id uuid NOT NULL,
            PRIMARY KEY (final_id, position)
        )
    """)
    op.execute("CREATE INDEX tus_concatenations_of_partial ON upload.tus_concatenations (partial_id)")
    # Row-level security comes with the next revision; consumers and sweeps act as the owner.
    op.execute("GRANT SELECT, UPDATE ON upload.tus_uploads TO penstock_upload_tenant")
