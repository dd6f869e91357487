"""Where in ClickHouse what is, as settings say it. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
_TABLE = re.compile(
    r"\s*(?:(?P<database>[^.()\s]+)\.)?(?P<table>[^.()\s]+)\s*(?:\((?P<columns>[^()]*)\))?\s*"
)
DEFAULT_PORTS = {"http": 8123, "https": 8443}


@dataclass(frozen=True)
class SourceTable:
    """A table and the columns that are read of it, in the order in which they are wanted.

    Attributes:
        database: None: the URL's.
    """

    database: str | None
    table: str
    columns: tuple[str, ...]

    @classmethod
    def read(cls, text: str, default: Sequence[str]) -> Self:
        """`table(column, column)`, `database.table(column, column)`, or without columns, which are then the default ones.

        Raises:
            ValueError: it is not of this form.
        """
        found = _TABLE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no table; write table({', '.join(default)})")
        given = found["columns"]
        columns = tuple(default if given is None else (part.strip() for part in given.split(",")))
        if len(columns) != len(default):
            raise ValueError(
                f"{text!r} has {len(columns)} columns; in this order it needs {', '.join(default)}"
            )
        for name in filter(None, (found["database"], found["table"], *columns)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} in {text!r} is no name of letters, digits and _ (64 at most)")
        if not all(columns):
            raise ValueError(f"{text!r} leaves the name of a column out")
        return cls(found["database"], found["table"], columns)

    @property
    def quoted(self) -> str:
        """As SQL names it."""
        return ".".join(f"`{name}`" for name in (self.database, self.table) if name)

    def __str__(self) -> str:
        return ".".join(filter(None, (self.database, self.table)))


@dataclass(frozen=True)
class Address:
    """A ClickHouse server's HTTP interface."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    @classmethod
    def read(cls, url: str) -> Self:
        """`http[s]://[user[:password]@]host[:port][/database]`.

        Raises:
            ValueError: it is not of this form; the message has nothing of it, as it may hold a password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in DEFAULT_PORTS or parts.query or "/" in parts.path[1:]:
            raise ValueError("it must be http://user:password@host:port/database, or https://…")
        return cls(
            parts.scheme,
            host,
            port or DEFAULT_PORTS[parts.scheme],
            unquote(parts.username or "default"),
            unquote(parts.password or ""),
            unquote(parts.path[1:]) or "default",
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}, database {self.database}"


@dataclass(frozen=True)
class Sources:
    """What is read, and of whom it is.

    Attributes:
        tenant: Whose errors, suppliers and files these are.
        errors: `dt, supid, error_id`, one row for each error. This and the next three: None is left out.
        reasons: `id, error_text`, what the error ids mean.
        suppliers: `supid, name`.
        prices: `dt, supid, price`, one row for each price that a file brought.
        not_needed: Those of them that may be missing in ClickHouse, as nobody named them.
        stage: Of the errors.
        times: The zone of times that are stored without one, if ClickHouse took them for those of another.
        overlap: How far behind the last row it begins to read again, for rows that came late.
    """

    address: Address
    tenant: str
    errors: SourceTable | None
    reasons: SourceTable | None
    suppliers: SourceTable | None
    prices: SourceTable | None
    not_needed: frozenset[SourceTable]
    stage: str
    times: ZoneInfo | None
    overlap: timedelta
