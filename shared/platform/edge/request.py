"""What the head of a request says. Pure."""

from collections.abc import Iterable

from starlette.types import Scope


class Streams:
    """Paths whose requests' bodies are streams: `/a` is just that, `/a/*` is `/a` and all that is below."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        all_entries = frozenset(entries)
        folders = [entry.removesuffix("/*") for entry in all_entries if entry.endswith("/*")]
        self._paths = all_entries.union(folders)
        self._prefixes = tuple(f"{folder}/" for folder in folders)

    def __contains__(self, path: str) -> bool:
        return path in self._paths or path.startswith(self._prefixes)


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a header, in lower case; empty if there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def has_body(scope: Scope) -> bool:
    """Whether a body follows the head (RFC 9112, section 6.3)."""
    return header(scope, b"content-length").strip(b"0") != b"" or header(scope, b"transfer-encoding") != b""


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header names JSON, or a format that is written in it (RFC 6839, section 3.1)."""
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))
