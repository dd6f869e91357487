"""B-trees by which records are found, where files are small or they cost imports nothing.

While they are built imports of these datasets wait; requests do not.
"""

from alembic import op

revision = "processor_0011"
down_revision = "processor_0010"

INDEXES = (
    "stock_codes_by_upload ON data.stock_codes (tenant, file_uploaded, key)",
    # No import makes a product inactive.
    "products_inactive ON data.products (tenant, key) WHERE NOT active",
)


def upgrade() -> None:
    # Both at once: whether they are to be had shows before anything is built.
    op.execute("LOCK TABLE data.stock_codes, data.products IN SHARE MODE")
    for index in INDEXES:
        op.execute(f"CREATE INDEX {index}")
