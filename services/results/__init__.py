"""Results: what became of every import, live and afterwards, and the records themselves. Reads only; owns `results`."""
