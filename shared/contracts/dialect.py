"""How a file is written: decided once, at upload, explained, and carried by `import.uploaded`."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "cp1252", "cp1251", "latin-1"]
MAX_DELIMITER = 8  # characters


class Dialect(BaseModel):
    """The reading rules of one file.

    Attributes:
        encoding: The text encoding of every byte from `start_byte` on.
        delimiter: What stands between fields, one character or several.
        quote: The character that encloses a field; empty: no field is quoted.
        escape: What makes a quote inside a quoted field plain: the quote itself (it is doubled; RFC 4180, rule 7) or
            another character before it. Empty: nothing does.
        header_rows: Records that name the columns, joined by spaces where they are several; 0: none does.
        start_byte: Bytes before the first record (the header, if there is one): byte order mark and preamble.
        start_line: Physical lines before it.
    """

    model_config = ConfigDict(frozen=True)

    encoding: Encoding = "utf-8"
    delimiter: str = Field(",", min_length=1, max_length=MAX_DELIMITER)
    quote: str = Field('"', max_length=1)
    escape: str = Field('"', max_length=1)
    header_rows: int = Field(1, ge=0)
    start_byte: int = Field(0, ge=0)
    start_line: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _characters_differ(self) -> Self:
        if any(end in self.delimiter + self.quote + self.escape for end in "\r\n\0"):
            raise ValueError("a line end or NUL cannot be delimiter, quote or escape")
        if self.quote and self.quote in self.delimiter:
            raise ValueError("the quote cannot be part of the delimiter")
        if self.escape and self.escape != self.quote and self.escape in self.delimiter:
            raise ValueError("the escape cannot be part of the delimiter")
        return self


class EvidenceLine(BaseModel):
    """A line of the file that decided something: its physical number from 1, and its text, cut when long."""

    model_config = ConfigDict(frozen=True)

    line_number: int
    text: str


class DialectExplanation(BaseModel):
    """Why a file is read as it is.

    Attributes:
        confidence: 0 to 1: how sure the decision is; 1 where nothing else fits, or all of it was given.
        runner_up: The second best reading in a few words (`delimiter ';'`), if there was one.
        reasons: Sentences, the weightiest first.
        lines: Lines that decided.
        given: Names of the dialect's members that the request gave.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float = Field(ge=0, le=1)
    runner_up: str | None = None
    reasons: tuple[str, ...] = ()
    lines: tuple[EvidenceLine, ...] = ()
    given: tuple[str, ...] = ()
