"""What the lists of results are ordered by: positions that the database has, and no others."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.results.cursors import import_cursors, row_error_cursors
from shared.contracts.problems import Unprocessable

POSITION = (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC), UUID(int=7))


def encoded(json: str) -> str:
    return urlsafe_b64encode(json.encode()).decode().rstrip("=")


def test_a_cursor_brings_its_position_back() -> None:
    assert import_cursors.decode("imports", import_cursors.encode("imports", POSITION)) == POSITION
    assert row_error_cursors.decode("e", row_error_cursors.encode("e", (2**62, 3))) == (2**62, 3)


@pytest.mark.parametrize(
    "at", ["2026-03-01T12:00:00", "0001-01-01T00:00:00+23:00"], ids=["no offset", "range"]
)
def test_times_that_the_database_does_not_have_are_refused(at: str) -> None:
    with pytest.raises(Unprocessable):
        import_cursors.decode(
            "imports", encoded(f'["imports",["{at}","00000000-0000-0000-0000-000000000007"]]')
        )


@pytest.mark.parametrize("position", ["[9223372036854775808,0]", "[1,2147483648]", "[-1,0]"])
def test_numbers_that_the_database_does_not_have_are_refused(position: str) -> None:
    with pytest.raises(Unprocessable):
        row_error_cursors.decode("e", encoded(f'["e",{position}]'))
