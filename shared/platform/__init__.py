"""What every service stands on: process, settings, database, bus, objects, auth, problems, logs. No CSV word here."""
