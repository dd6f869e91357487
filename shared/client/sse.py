"""Server-Sent Events as a client reads them (WHATWG HTML, section 9.2.6). Pure."""

from collections.abc import Iterable, Iterator


def event_data(lines: Iterable[str]) -> Iterator[str]:
    """The `data` of each event in `lines`, which come without their line ends. An unfinished event is dropped."""
    data: list[str] = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
        elif data:
            yield "\n".join(data)
            data = []
