"""The error file of an import: what goes behind the columns of each refused record."""

REMARKS = ("_line", "_codes", "_messages")  # no file's columns: an upload passes over them
