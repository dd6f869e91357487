"""Where webhooks may go: URLs, the addresses behind them, and who is asked for these."""
