"""What was sent and what came back: the log of deliveries; to test, retry and replay."""
