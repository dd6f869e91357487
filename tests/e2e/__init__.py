"""The four services as real processes, from upload to webhook."""
