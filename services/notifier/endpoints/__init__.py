"""Webhook endpoints: where deliveries go, which, and how they are signed."""
