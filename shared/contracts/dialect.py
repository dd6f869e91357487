"""How a file is written: decided once, at upload, and carried by `import.uploaded`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Dialect(BaseModel):
    """The reading rules of one file.

    Attributes:
        encoding: The text encoding of every byte after the byte order mark.
        bom: Bytes to skip at the file's start (3 for the UTF-8 byte order mark, else 0).
        delimiter: One character between fields.
        quote: One character that encloses a field; doubled inside it stands for itself (RFC 4180, rule 7).
        header: Whether the first record names the columns.
    """

    model_config = ConfigDict(frozen=True)

    encoding: Literal["utf-8", "cp1252"] = "utf-8"
    bom: int = 0
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
