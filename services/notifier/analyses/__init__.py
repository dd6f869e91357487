"""What is expected of each supplier, and what was not as expected: judged once a day."""
