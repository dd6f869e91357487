"""Changes of single records, and of all records of a dataset, on request."""
