"""Investigation events: taken in, kept once and counted once, whoever reports them."""
