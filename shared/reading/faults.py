"""What is wrong with one record, in words that a partner understands."""

from shared.contracts.dialect import Encoding
from shared.reading.errors import ReadFault


def text_fault(raw: bytes, encoding: Encoding) -> ReadFault | None:
    """What keeps the bytes of a record from being text that can be stored, if anything does."""
    try:
        text = str(raw, encoding)
    except UnicodeDecodeError as error:
        return ReadFault(
            "encoding_invalid",
            f"Byte {error.start + 1} of the record (0x{raw[error.start]:02X}) is not valid {encoding}.",
            "Save the whole file as UTF-8.",
        )
    if "\0" in text:
        before = text[: text.index("\0")].encode(encoding)
        return ReadFault(
            "nul_byte",
            f"Byte {len(before) + 1} of the record is NUL, which text cannot hold.",
            "Remove the NUL bytes.",
        )
    return None


def unterminated(line_number: int) -> ReadFault:
    """The fault of a record whose last field opens in that physical line with a quote that nothing closes."""
    return ReadFault(
        "quote_unterminated",
        f"A quoted field opens in line {line_number} and is never closed.",
        "Close the quote, or double it if it belongs to the text.",
    )


def too_large(length: int, limit: int) -> ReadFault:
    """The fault of a record of `length` bytes, more than `limit`."""
    return ReadFault(
        "record_too_large",
        f"The record has {length:,} bytes; at most {limit:,} are read.",
        "Split the record, or look for a line end or a closing quote that is missing.",
    )
