"""What a sender may say about a file's dialect instead of having it found."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.contracts.dialect import MAX_DELIMITER, Encoding

MAX_HEADER_ROWS = 20
MAX_SKIP_ROWS = 1_000_000  # far beyond the head that is looked at

_DELIMITERS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
    "space": " ",
    "colon": ":",
    r"\t": "\t",
}
_USUAL_DELIMITERS = ",;\t| :"  # one of which may be found where none is given
_QUOTES = {"none": "", "double": '"', "single": "'"}
_ESCAPES = {"none": "", "backslash": "\\", "doubled": "doubled"}
_ENCODINGS: dict[str, Encoding | Literal["utf-16"]] = {
    "utf8": "utf-8",
    "utf8sig": "utf-8",
    "ascii": "utf-8",
    "usascii": "utf-8",
    "utf16": "utf-16",
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "cp1252": "cp1252",
    "windows1252": "cp1252",
    "cp1251": "cp1251",
    "windows1251": "cp1251",
    "latin1": "latin-1",
    "iso88591": "latin-1",
}


def encoding_named(name: str) -> Encoding | Literal["utf-16"] | None:
    """The encoding that people call so (`UTF-8`, `windows-1252`); None if it is none that files are read in."""
    return _ENCODINGS.get(name.casefold().replace("-", "").replace("_", "").replace(" ", ""))


class DialectOverrides(BaseModel):
    """Members of the dialect that were given. What is None is found from the file.

    Attributes:
        encoding: `utf-16` takes its byte order from the file. Common spellings (`UTF-8`, `windows-1252`) are understood.
        delimiter: One to eight characters, or a name: comma, semicolon, tab, pipe, space, colon.
        quote: One character, or a name: double, single, none.
        escape: The quote itself or `doubled`, another character, `backslash`, or `none`.
        header_rows: Records that name the columns; 0: the file has no header.
        skip_rows: Physical lines before the header, or before the first record where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: Encoding | Literal["utf-16"] | None = None
    delimiter: str | None = Field(None, min_length=1, max_length=MAX_DELIMITER)
    quote: str | None = Field(None, max_length=1)
    escape: Annotated[str, Field(max_length=1)] | Literal["doubled"] | None = None
    header_rows: int | None = Field(None, ge=0, le=MAX_HEADER_ROWS)
    skip_rows: int | None = Field(None, ge=0, le=MAX_SKIP_ROWS)

    @field_validator("encoding", mode="before")
    @classmethod
    def _encoding_named(cls, value: Any) -> Any:
        return encoding_named(value) or value if isinstance(value, str) else value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _delimiter_named(cls, value: Any) -> Any:
        return _DELIMITERS.get(value.casefold(), value) if isinstance(value, str) else value

    @field_validator("quote", mode="before")
    @classmethod
    def _quote_named(cls, value: Any) -> Any:
        return _QUOTES.get(value.casefold(), value) if isinstance(value, str) else value

    @field_validator("escape", mode="before")
    @classmethod
    def _escape_named(cls, value: Any) -> Any:
        return _ESCAPES.get(value.casefold(), value) if isinstance(value, str) else value

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _no_line_end(cls, value: str | None) -> str | None:
        if value and not set(value).isdisjoint("\r\n\0"):
            raise ValueError("a line end or NUL cannot be delimiter, quote or escape")
        return value

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        quote = self.quote or ""
        escape = "" if self.escape in {None, "doubled", quote} else self.escape or ""
        if quote == "\\" or quote.isalnum():
            raise ValueError("a backslash, a letter or a digit cannot be the quote")
        taken = self.delimiter if self.delimiter is not None else _USUAL_DELIMITERS
        if quote and quote in taken:
            raise ValueError("the quote cannot be part of the delimiter; give both if they are unusual")
        if escape and escape in taken:
            raise ValueError("the escape cannot be part of the delimiter; give both if they are unusual")
        if self.delimiter is not None and self.quote is None and not {'"', "'"}.isdisjoint(self.delimiter):
            raise ValueError("the delimiter holds a quote sign: say which quote there is, or none")
        return self

    @property
    def signs(self) -> frozenset[str]:
        """What was given as quote and escape, and so is in no delimiter."""
        escape = "" if self.escape == "doubled" else self.escape or ""
        return frozenset({self.quote or "", escape} - {""})

    @property
    def names(self) -> tuple[str, ...]:
        """The members that were given."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)
