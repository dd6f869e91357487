"""What webhooks say, made from events: one message, and a delivery of it for each endpoint that asked for it."""
