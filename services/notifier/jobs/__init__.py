"""Work that is due once a day: caught up with after downtime, run by one process among many."""
