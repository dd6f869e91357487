"""The consumer of what is asked of single records."""

from services.processor.editing.editor import Editor
from shared.contracts.topology import PROCESSOR_RECORDS
from shared.platform.bus import Subscription


def editing_subscription(editor: Editor) -> Subscription:
    """The consumer of `processor.records`."""
    return Subscription(PROCESSOR_RECORDS, dict.fromkeys(PROCESSOR_RECORDS.types, editor.handle))
