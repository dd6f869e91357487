"""The records of every dataset."""
