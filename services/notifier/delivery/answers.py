"""What a receiver answers: how much of it is kept, and when it asks to come again. Pure."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

KEPT_BYTES = 16 * 1024  # of a response's body
LONGEST_WAIT = (
    365 * 86_400.0
)  # seconds; far beyond what is honoured, and still a number that can be added to a time

_SECONDS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


@dataclass
class Answer:
    """Filled while the response comes in, so that a body that never ends does not hide the status before it.

    Attributes:
        retry_after: Seconds.
    """

    status: int | None = None
    retry_after: float | None = None
    body: bytearray = field(default_factory=bytearray)

    @property
    def is_enough(self) -> bool:
        """There is more of the body than is kept."""
        return len(self.body) > KEPT_BYTES

    def text(self) -> str | None:
        """The body as text that PostgreSQL can store, which holds no NUL; None: nothing was answered."""
        if self.status is None:
            return None
        return self.body[:KEPT_BYTES].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def seconds_to_wait(retry_after: str | None, now: datetime) -> float | None:
    """What a `Retry-After` header asks for (RFC 9110, section 10.2.3): seconds, or a date.

    A time in the past is 0; what is neither is None, as if it had not been there.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return min(max(float(text), 0.0), LONGEST_WAIT)
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(text)
        # One that names no zone is in UTC, as all of HTTP's are.
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return min(max((aware - now).total_seconds(), 0.0), LONGEST_WAIT)
    return None
