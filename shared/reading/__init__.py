"""Reading CSV: dialect, header, records, positions. Pure: bytes in, records out, no I/O."""
