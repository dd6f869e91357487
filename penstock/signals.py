"""Leaving in order: what was begun is ended, and the exit code says that all is well."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """SIGTERM or SIGINT came."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave the block, and go on behind it, when SIGTERM or SIGINT comes.

    uvicorn, which takes both signals while it serves, raises them once more when it has stopped: that is how they
    get here.
    """

    def stop(_: int, __: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Within the block SIGTERM does what Ctrl-C does, so that what was begun is tidied up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
