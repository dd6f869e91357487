"""What the processor hears: a new import begins with slice 0, and asks for its next slices itself; commands."""

from sqlalchemy.ext.asyncio import AsyncEngine

from services.processor.pipeline import Pipeline
from services.processor.tables import inbox
from shared.contracts.topology import PROCESSOR_COMMANDS, PROCESSOR_IMPORTS
from shared.platform.bus import Bus, Subscription, once


def subscriptions(engine: AsyncEngine, bus: Bus, pipeline: Pipeline) -> tuple[Subscription, ...]:
    """The processor's consumers."""
    # A slice is no single transaction: it holds by the lease and the checkpoint instead.
    imports = Subscription(
        PROCESSOR_IMPORTS,
        handlers={
            "import.uploaded": once(engine, inbox, PROCESSOR_IMPORTS, pipeline.take_on),
            "slice.process": pipeline.process,
        },
        on_exhausted=pipeline.give_up,
    )
    commands = Subscription(
        PROCESSOR_COMMANDS,
        handlers={
            # A command that comes again must not touch the run behind the one it was meant for.
            "import.cancel": once(engine, inbox, PROCESSOR_COMMANDS, pipeline.cancel),
            "import.retry": once(engine, inbox, PROCESSOR_COMMANDS, pipeline.retry),
        },
        on_exhausted=pipeline.give_up,
    )
    return imports, commands
