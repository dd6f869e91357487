"""The console's files, read once, each with its compressed form. Pure but for the reading.

Their address holds a digest of all of them, `/assets/<version>/…`, and modules import one another by relative paths: a
browser keeps them for good and still never mixes two versions.
"""

import gzip
import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_VERSION_MARK = b"{version}"
_PRELOAD_MARK = b"<!-- modules -->"
_ENTRY = "main.js"
# `import {…} from "./x.js"`, `export … from`, and `import "./x.js"`; what a page is imported by, when it is opened, is a call.
_IMPORT = re.compile(rb'^(?:import|export)(?:[\w\s{},*$]*\bfrom)? "(\.[^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    media_type: str
    plain: bytes
    zipped: bytes


@dataclass(frozen=True)
class Assets:
    """All files by their path below `static/`, and the page that loads them."""

    version: str
    files: Mapping[str, Asset]
    page: Asset


def read_assets(folder: Path = FOLDER) -> Assets:
    """The files in `folder`.

    Raises:
        KeyError: one is of a kind that has no media type here.
    """
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
    version = digest.hexdigest()[:12]
    page = (
        contents.pop(PAGE)
        .replace(_PRELOAD_MARK, _preloads(contents))
        .replace(_VERSION_MARK, version.encode())
    )
    files = {name: _asset(name, content) for name, content in contents.items()}
    return Assets(version, MappingProxyType(files), _asset(PAGE, page))


def _preloads(contents: Mapping[str, bytes]) -> bytes:
    """Links to the modules that every page needs: a browser fetches them at once instead of import by import."""
    links = [f'<link rel="modulepreload" href="/assets/{{version}}/{name}">' for name in _needed(contents)]
    return "\n".join(links).encode()


def _needed(contents: Mapping[str, bytes]) -> Sequence[str]:
    """The entry and all that it imports, and what that imports."""
    needed = [_ENTRY]
    for name in needed:  # which grows meanwhile
        found = (
            posixpath.normpath(f"{posixpath.dirname(name)}/{each.decode()}").lstrip("/")
            for each in _IMPORT.findall(contents[name])
        )
        needed += [each for each in dict.fromkeys(found) if each not in needed]
    return needed


def _asset(name: str, content: bytes) -> Asset:
    return Asset(MEDIA_TYPES[Path(name).suffix], content, gzip.compress(content, 9, mtime=0))
