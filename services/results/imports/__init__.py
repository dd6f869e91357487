"""What became of imports: list, get, follow live."""
