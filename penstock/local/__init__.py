"""Servers that are private to one folder, for `penstock up`, for development and for the tests."""
