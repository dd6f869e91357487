"""A record as JSON that PostgreSQL makes of its row: the same wherever records are shown.

`results` answers with it and `notifier` sends it to webhook endpoints, so both take the expression from here.
"""

from functools import cache
from types import MappingProxyType

from shared.contracts.datasets import Dataset
from shared.contracts.record_keys import record_id_sql

# How the API writes values, whatever the session's settings: exact numbers as text, moments in UTC.
MOMENT = """replace(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""
_WRITTEN = MappingProxyType({"number": "{}::text", "datetime": MOMENT})


@cache
def record_json_sql(dataset: Dataset, row: str) -> str:
    """An SQL expression: the record as JSON text, of the row of the dataset's table or view whose alias is `row`.

    Its members are `id`, the declared fields, and `import_id`, `row_number`, `created_at`, `updated_at`; none is ever left out.
    """
    members = [f"{record_id_sql(dataset, row)} AS id"]
    for field in dataset.fields:
        value = _WRITTEN.get(field.type, "{}").format(f'{row}."{field.name}"')
        members.append(f'{value} AS "{field.name}"')
    members += [f"{row}.import_id", f"{row}.row_number"]
    members += [f"{MOMENT.format(f'{row}.{name}')} AS {name}" for name in ("created_at", "updated_at")]
    return f"(SELECT row_to_json(d) FROM (SELECT {', '.join(members)}) d)::text"  # noqa: S608 - declared names
