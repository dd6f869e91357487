"""Tests; see CONTRIBUTING."""
