"""Takes files in: streams them to object storage, refuses what is no good, announces the rest."""
