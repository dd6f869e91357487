"""B-trees by which sales are found. While they are built imports of sales wait, 8 s for a million that are there, on two cores."""

from alembic import op

revision = "processor_0012"
down_revision = "processor_0011"

INDEXES = (
    "sales_by_time ON data.sales (tenant, sold_at, key)",
    "sales_by_product ON data.sales (tenant, sku_key, sold_at)",
    "sales_by_customer ON data.sales (tenant, customer_id, sold_at)",
)


def upgrade() -> None:
    for index in INDEXES:
        op.execute(f"CREATE INDEX {index}")
