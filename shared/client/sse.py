"""Server-Sent Events as a client reads them (WHATWG HTML, section 9.2.6). Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Event(NamedTuple):
    """One event: what it carries, and the newest `id` of the stream, for who comes again; None: there was none yet."""

    data: str
    last_id: str | None


def events(lines: Iterable[str], last_id: str | None = None) -> Iterator[Event]:
    """The events in `lines`, which come without their line ends. An unfinished event is dropped."""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            last_id = value
        elif not line and data:
            yield Event("\n".join(data), last_id)
            data = []
