"""The file of an import as it came, whole or in parts."""
