"""Which suppliers are known: those whose errors are judged, not kept waiting."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.suppliers.resources import AddedBy, can_be_known

# In the order of the ids, as another transaction may make the same ones known.
_MAKE_KNOWN = text("""
    INSERT INTO notifier.suppliers (tenant, id, name, added_by)
    SELECT :tenant, n.id, n.name, :added_by FROM unnest(:ids, :names) AS n (id, name)
    WHERE NOT EXISTS (SELECT FROM notifier.suppliers s WHERE s.tenant = :tenant AND s.id = n.id)
    ORDER BY n.id COLLATE "C"
    ON CONFLICT DO NOTHING RETURNING id
""").bindparams(bindparam("ids", type_=ARRAY(Text)), bindparam("names", type_=ARRAY(Text)))


async def make_known(
    connection: AsyncConnection, tenant: str, suppliers: Mapping[str, str], added_by: AddedBy
) -> Sequence[str]:
    """Add those that are not there yet. To be called before the tenant's investigations are locked, never after it.

    What is in quarantine of them is to be released in the same transaction (`Logbook.release`): whoever logs an event
    either finds them known, or has put it in quarantine before that looks.

    Args:
        connection: In a transaction.
        tenant: Whose.
        suppliers: The names by id, 1 to 255 characters. One that the API could not name is passed over.
        added_by: Who says so.

    Returns:
        The ids of those that are new.
    """
    possible = {one: name for one, name in suppliers.items() if can_be_known(one)}
    if not possible:
        return []
    values = {
        "ids": list(possible),
        "names": list(possible.values()),
        "tenant": tenant,
        "added_by": added_by,
    }
    return list(await connection.scalars(_MAKE_KNOWN, values))
