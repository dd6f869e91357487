"""The `penstock` command: puts the services together into processes, and speaks to them as a client."""
