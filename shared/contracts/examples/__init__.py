"""Golden examples, one JSON file for each event type."""
