"""Row errors: why records were not loaded, and the file to mend them in."""
