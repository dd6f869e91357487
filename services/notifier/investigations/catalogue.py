"""Reasons that are known everywhere, and the texts that older pipelines write for them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownReason:
    title: str
    description: str


CATALOGUE: Mapping[str, KnownReason] = MappingProxyType(
    {
        # What pipelines find wrong with files.
        "file_format": KnownReason(
            "File format", "The file is not of the format that was agreed: other columns, delimiter or encoding."
        ),
        "file_read": KnownReason(
            "File cannot be read", "The file could not be opened, fetched or read to its end."
        ),
        "missing_values": KnownReason(
            "Missing values", "More of a key column is empty than may be, by default more than 50 %."
        ),
        "numbers_in_text": KnownReason(
            "Numbers in a text column",
            "More of a text column is numbers than may be, by default more than 30 %: columns may have moved.",
        ),
        "brand_mismatch": KnownReason(
            "Brand mismatch", "The brands in the file are not those that this supplier delivers."
        ),
        "sku_format": KnownReason(
            "SKU format",
            "Fewer of the keys look like an article number than should, by default fewer than 70 %.",
        ),
        "price_too_low": KnownReason("Price too low", "Prices are below what is possible."),
        "price_deviation": KnownReason(
            "Price deviation",
            "Prices are off from those of the last good file, by default by more than 30 %.",
        ),
        "negative_value": KnownReason(
            "Negative value", "A price or a quantity is below zero, where none can be."
        ),
        "unexpected": KnownReason("Unexpected error", "A pipeline stopped at an error that it does not know."),
        "write_error": KnownReason("Write error", "What was read could not be written to where it belongs."),
        "row_count": KnownReason(
            "Row count",
            "The file has far more or fewer rows than the last good one, or than others of its weekday.",
        ),
        # What Penstock reports itself.
        "import_failed": KnownReason("Import failed", "An import ended with an error; nothing more of it comes."),
        "row_errors": KnownReason("Row errors", "An import went through, but for some of its records."),
        "endpoint_failing": KnownReason(
            "Webhook endpoint fails", "A webhook endpoint has answered nothing but failures for a while."
        ),
        "endpoint_disabled": KnownReason(
            "Webhook endpoint disabled", "A webhook endpoint gets no more deliveries: it failed for too long, or is gone."
        ),
        "late": KnownReason("File is late", "A file was expected by now, as the supplier's days are, and did not come."),
        "reject_rate": KnownReason("Reject rate", "Far more of the records were rejected than usual."),
        "header_change": KnownReason("Header changed", "The columns are not those of the last good file."),
        "duplicate_file": KnownReason("Duplicate file", "The same content came before."),
        "job_failed": KnownReason(
            "Job failed", "A daily job ended with an error, for some date and as often as it is tried."
        ),
        "new_reason": KnownReason("New reason", "An error of a kind that this supplier never had."),
    }
)  # fmt: skip

# By the text's words, in lower case and without the word `error`: the texts of Pricelens.
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "wrong file format": "file_format",
        "invalid file format": "file_format",
        "file reading": "file_read",
        "reading": "file_read",
        "cannot read file": "file_read",
        "file not readable": "file_read",
        "missing data": "missing_values",
        "missing": "missing_values",
        "numeric values in text column": "numbers_in_text",
        "numeric in text": "numbers_in_text",
        "numbers in text column": "numbers_in_text",
        "brand": "brand_mismatch",
        "brand does not match": "brand_mismatch",
        "invalid sku": "sku_format",
        "invalid sku format": "sku_format",
        "low price": "price_too_low",
        "price low": "price_too_low",
        "deviation in price": "price_deviation",
        "price deviates": "price_deviation",
        "negative values": "negative_value",
        "negative price": "negative_value",
        "unknown": "unexpected",
        "unhandled": "unexpected",
        "unexpected exception": "unexpected",
        "write": "write_error",
        "writing": "write_error",
        "database write": "write_error",
        "row count threshold": "row_count",
        "rows count": "row_count",
        "number of rows": "row_count",
    }
)
_BETWEEN_WORDS = re.compile(r"[^\w]+|_+")


def code_of(text: str) -> str:
    """The code of a reason that is written as free text, such as `File format error`; where none is clear, the text itself."""
    words = _BETWEEN_WORDS.sub(" ", text.casefold()).split()
    if "_".join(words) in CATALOGUE:
        return "_".join(words)
    without = [word for word in words if word not in {"error", "errors"}]
    if "_".join(without) in CATALOGUE:
        return "_".join(without)
    return _ALIASES.get(" ".join(without), text)
