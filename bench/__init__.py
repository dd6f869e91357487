"""`make bench`: measures Penstock beside what its users could take instead, on the same machine in the same run."""
