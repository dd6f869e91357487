"""Why a file or one of its records cannot be read.

An error about the whole file is raised, and nothing of the file is loaded:

    UnreadableFile
    ├── FileEmpty               file_empty               no bytes, or nothing but blank
    ├── FileNotText             file_not_text            a workbook, an archive, a picture
    ├── EncodingUnsupported     encoding_unsupported     text, in UTF-32
    ├── GzipError
    │   ├── GzipInvalid             gzip_invalid             packed bytes that cannot be unpacked
    │   ├── GzipTruncated           gzip_truncated           the packed file ends too early
    │   ├── UnpackedTooLarge        unpacked_too_large       too large once it is unpacked
    │   └── GzipRatioTooHigh        gzip_ratio_too_high      far larger unpacked than packed: a bomb, most likely
    └── HeaderError
        ├── HeaderMissing           header_missing           the first record names no known column
        ├── HeaderColumnMissing     header_column_missing    a required column has no header
        └── HeaderColumnDuplicate   header_column_duplicate  two headers name one column

An error about one record is a `ReadFault` on that record: it becomes a row error and reading goes on.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal


class UnreadableFile(ValueError):
    """The file cannot be taken. Nothing of it is loaded; the sender has to send another one.

    Attributes:
        code: Stable name, snake case, for programs.
        message: What is wrong and where, for people.
        hint: What to do about it.
    """

    code: ClassVar[str]

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class FileEmpty(UnreadableFile):
    code = "file_empty"


class FileNotText(UnreadableFile):
    code = "file_not_text"


class EncodingUnsupported(UnreadableFile):
    code = "encoding_unsupported"


class GzipError(UnreadableFile):
    """The file is packed by gzip (RFC 1952), and not to be unpacked."""


class GzipInvalid(GzipError):
    code = "gzip_invalid"


class GzipTruncated(GzipError):
    code = "gzip_truncated"


class UnpackedTooLarge(GzipError):
    code = "unpacked_too_large"


class GzipRatioTooHigh(GzipError):
    code = "gzip_ratio_too_high"


class HeaderError(UnreadableFile):
    """The first record does not say which column is where."""


class HeaderMissing(HeaderError):
    code = "header_missing"


class HeaderColumnMissing(HeaderError):
    code = "header_column_missing"


class HeaderColumnDuplicate(HeaderError):
    code = "header_column_duplicate"


FaultCode = Literal["record_too_large", "quote_unterminated", "encoding_invalid", "nul_byte"]


@dataclass(frozen=True, slots=True)
class ReadFault:
    """Why one record could not be read as it stands. Recorded and skipped; the next record is not affected."""

    code: FaultCode
    message: str
    hint: str
