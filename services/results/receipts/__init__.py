"""The final balance of an import."""
