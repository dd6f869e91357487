"""What a row error `duplicate_key` says of the record that has the key: the processor writes it, results tells causes by it."""

import re
from dataclasses import dataclass
from uuid import UUID

_HOLDER = re.compile(r"record \d+ of (?:this file has it|import (?P<brought>[0-9a-f-]{36}) brought it)")


@dataclass(frozen=True)
class Holder:
    """Where the record with the key came from. `import_id`: of another import; None: of the same file."""

    import_id: str | None


def holder_told(row: int | None, import_id: UUID | None, *, own: UUID) -> str:
    """The words for record `row` of `import_id` (None: it came with no file), to the sender of import `own`."""
    if import_id is None:
        return "it is in the table"
    if import_id == own:
        return f"record {row} of this file has it"
    return f"record {row} of import {import_id} brought it"


def holder_in(message: str) -> Holder | None:
    """What `holder_told` said in `message`; None: it came with no file."""
    found = _HOLDER.search(message)
    return found and Holder(found["brought"])
