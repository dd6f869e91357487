"""Everybody's errors, grouped into investigations."""
