"""Cursors that nobody was given."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def with_nul(cursor: str, before: str) -> str:
    """The cursor of a place that PostgreSQL cannot be asked for: with a U+0000 where a text begins with `before`."""
    known = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    forged = known.replace(f'"{before}', f'"\\u0000{before}')
    assert forged != known
    return urlsafe_b64encode(forged.encode()).decode().rstrip("=")
