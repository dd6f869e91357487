"""The notifier: tells partners by webhook, and groups everybody's errors into investigations."""
