"""The four services; each knows nothing of the others."""
