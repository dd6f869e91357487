"""How an edit of records is asked for and decided, so that "nothing was changed" is true whenever it is answered.

`results` asks (a command on the bus), `processor` decides. Two advisory locks of PostgreSQL stand for each edit:

    asked      held by a session of the asker from before the command goes out until it waits no longer
    decided    held by whoever decides, for a moment

    processor, in one transaction               the asker, when its time is over
    1. ends, if `asked` is free                 1. takes `decided`
    2. makes the change                         2. a reply is there: it is the answer
    3. takes `decided`                          3. none is: it gives `asked` free, then `decided`,
    4. rolls back, if `asked` is free,             and answers that nothing was changed
       or there is a reply already
    5. writes the reply, commits

A change commits only while its asker waits, as 4 and 5 happen under `decided`; and once the asker has passed 3, every
processor finds `asked` free. So whatever comes late (a command after the answer, twice, or after a restart; a transaction
that hung for a minute) changes nothing, and what was changed is answered as such. A transaction holds `decided` from its
last question to its commit only, so the asker hardly waits for it. A crash of either side ends its session and with it its
lock: of the asker, then nothing changes any more; of the processor, then its transaction is undone.

Whether `asked` is free is tried with a shared lock: two who find it free at once do not take each other for the asker.
"""

from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

from shared.contracts.datasets import Dataset
from shared.contracts.record_keys import record_id


class EditLocks(NamedTuple):
    """The names of an edit's advisory locks (`shared.platform.database.advisory_key` makes keys of them)."""

    asked: str
    decided: str


def edit_locks(edit_id: UUID) -> EditLocks:
    """The locks of one edit."""
    return EditLocks(f"penstock:edit:{edit_id}:asked", f"penstock:edit:{edit_id}:decided")


def record_path(dataset: Dataset, key: str) -> str:
    """Where the record of that key is, on whatever host the API is."""
    return f"/api/v1/records/{dataset.name}/{quote(record_id(dataset, key), safe='')}"
