"""What kinds of file there are."""
