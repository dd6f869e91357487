"""Loads files slice by slice: reads, checks and merges records; the only writer of records."""
