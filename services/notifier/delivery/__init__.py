"""Sending deliveries: what is due, in bounded lanes, attempt by attempt."""
