"""Finding records by words: what was written is marked in the transaction that writes it, and indexed behind it."""

from services.processor.searching.indexer import Indexer
from services.processor.searching.marks import clear, put

__all__ = ["Indexer", "clear", "put"]
