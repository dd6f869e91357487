"""Words and other ways to find records fast, kept up behind the imports.

An index on what imports write would make them as slow again. So the words of records are in tables beside them, which the
processor fills after an import is through; what is not in there yet is marked.
"""

from alembic import op

revision = "processor_0006"
down_revision = "processor_0005"

SEARCHED = ("sales", "quotes", "stock_codes", "books", "parts", "products")
MARKED = "NOT searched AND kind IN ('created', 'updated', 'deleted')"
READERS = "penstock_results, penstock_results_tenant"


def upgrade() -> None:
    # Of what imports write, changes alone is altered, so that slices wait for milliseconds.
    _marks()
    _functions()
    for table in SEARCHED:
        _words(table)
    _show_marks()


def _functions() -> None:
    # 200,000: words of 4 bytes, each with its mark, are less than the megabyte that a tsvector may have. 500: of 4 bytes,
    # less than the 2,046 of a lexeme; a repetition in a pattern has at most 255.
    op.execute(r"""
        CREATE FUNCTION data.spaced(content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 400
        AS $$
        BEGIN
            IF octet_length(content) = length(content) THEN
                content := lower(content COLLATE "C");
            ELSE
                content := regexp_replace(
                    casefold(normalize(content, NFKD) COLLATE pg_unicode_fast), '[\u0300-\u036f]+', '', 'g'
                );
                content := regexp_replace(
                    content, '([\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])', ' \1 ', 'g'
                );
            END IF;
            content := regexp_replace(content COLLATE pg_unicode_fast, '[^[:alnum:] ]+', ' ', 'g');
            IF length(content) > 500 THEN
                content := regexp_replace(content, '([^ ]{250}[^ ]{250})', '\1 ', 'g');
            END IF;
            RETURN left(content, 200000);
        END $$
    """)
    op.execute(
        "COMMENT ON FUNCTION data.spaced IS 'The words of a text, blanks between them, before and behind'"
    )
    op.execute("""
        CREATE FUNCTION data.words_of(tenant text, content text) RETURNS tsvector
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
        AS $$
        DECLARE mark text := left(md5(tenant), 3);
        BEGIN
            RETURN ts_delete(CAST(mark || replace(data.spaced(content), ' ', ' ' || mark) AS tsvector), mark);
        END $$
    """)
    op.execute("""
        CREATE FUNCTION data.query_of(tenant text, sought text) RETURNS tsquery
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000
        AS $$
        DECLARE
            mark text := left(md5(tenant), 3);
            words text := btrim(regexp_replace(data.spaced(sought), ' +', ' ', 'g'));
        BEGIN
            RETURN CASE WHEN words = '' THEN '' ELSE mark || replace(words, ' ', ' & ' || mark) || ':*' END;
        END $$
    """)
    for function in ("words_of", "query_of"):
        op.execute(
            f"COMMENT ON FUNCTION data.{function} IS 'Contract with results (shared/contracts/record_search.py)'"
        )


def _marks() -> None:
    # The version before does not know the column, and what it loads is marked by the default.
    op.execute("ALTER TABLE processor.changes ADD COLUMN searched boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE processor.changes ALTER searched SET DEFAULT false")
    op.execute(
        "COMMENT ON COLUMN processor.changes.searched IS 'Whether the records are found by their words since'"
    )
    op.execute(f"CREATE INDEX changes_unsearched ON processor.changes (import_id) WHERE {MARKED}")
    op.execute("""
        CREATE TABLE processor.unsearched (
            id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
            tenant text NOT NULL,
            dataset text NOT NULL,
            keys text[],
            swept_to text COLLATE "C",
            CONSTRAINT unsearched_keys_or_sweep CHECK ((keys IS NULL) <> (swept_to IS NULL))
        )
    """)
    op.execute("ALTER TABLE processor.unsearched ALTER keys SET STORAGE EXTERNAL")
    op.execute("""
        COMMENT ON TABLE processor.unsearched IS
        'Records written by others than imports whose words are not indexed yet; or, after many were deleted, up to which key'
        ' the words of those that are gone are swept out'
    """)


def _words(table: str) -> None:
    op.execute(f"""
        CREATE TABLE data.{table}_search (
            tenant text NOT NULL,
            key text COLLATE "C" NOT NULL,
            words tsvector NOT NULL,
            PRIMARY KEY (tenant, key)
        )
    """)
    # What was added is merged into the index in one go by whoever added it (gin_clean_pending_list), in a fourth of the
    # time that it takes one by one. The limit, in kB, is above what is ever added at once.
    op.execute(f"""
        CREATE INDEX {table}_search_words ON data.{table}_search USING gin (words)
        WITH (fastupdate = on, gin_pending_list_limit = 131072)
    """)
    op.execute(f"ALTER TABLE data.{table}_search ENABLE ROW LEVEL SECURITY")
    op.execute(f"""
        CREATE POLICY one_tenant ON data.{table}_search USING (tenant = current_setting('penstock.tenant', true))
    """)
    # The owner's view, and another expression than in the policies on records: see shared/contracts/record_search.py.
    op.execute(f"""
        CREATE VIEW data.{table}_search_v1 AS
        SELECT key, words FROM data.{table}_search
        WHERE tenant = coalesce(current_setting('penstock.tenant', true), '')
    """)
    _contract(f"data.{table}_search_v1")


def _show_marks() -> None:
    op.execute("ALTER TABLE processor.unsearched ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY one_tenant ON processor.unsearched USING (tenant = current_setting('penstock.tenant', true))
    """)
    op.execute(
        "CREATE POLICY all_tenants ON processor.unsearched FOR SELECT TO penstock_results USING (true)"
    )
    op.execute("ALTER TABLE processor.changes ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY of_import ON processor.changes USING (EXISTS (
            SELECT FROM processor.imports i WHERE i.import_id = changes.import_id
        ))
    """)
    op.execute(f"""
        CREATE VIEW data.unsearched_v1 WITH (security_invoker = true) AS
        SELECT tenant, dataset, keys FROM processor.unsearched WHERE keys IS NOT NULL
        UNION ALL
        SELECT tenant, changes.dataset, keys FROM processor.changes JOIN processor.imports USING (import_id)
        WHERE {MARKED}
    """)
    op.execute(f"GRANT SELECT (tenant, dataset, keys) ON processor.unsearched TO {READERS}")
    op.execute(f"GRANT SELECT (import_id, dataset, kind, keys, searched) ON processor.changes TO {READERS}")
    _contract("data.unsearched_v1")


def _contract(view: str) -> None:
    op.execute(f"COMMENT ON VIEW {view} IS 'Contract with results; change it only by adding columns'")
    op.execute(f"GRANT SELECT ON {view} TO {READERS}")
