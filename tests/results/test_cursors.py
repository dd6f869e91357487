from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.results.cursors import import_cursors, record_cursors, row_error_cursors
from shared.contracts.problems import Unprocessable

POSITION = (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC), UUID(int=7))


def encoded(json: str) -> str:
    return urlsafe_b64encode(json.encode()).decode().rstrip("=")


def test_a_cursor_brings_its_position_back() -> None:
    assert import_cursors.decode("imports", import_cursors.encode("imports", POSITION)) == POSITION
    assert row_error_cursors.decode("e", row_error_cursors.encode("e", (2**62, 3))) == (2**62, 3)
    assert record_cursors.decode("r", record_cursors.encode("r", 'ä/"🙂')) == 'ä/"🙂'


@pytest.mark.parametrize(
    ("why", "cursor"),
    [
        ("not base64", "?"),
        ("not ASCII", "ä"),
        ("impossible length", "abcde"),
        ("not JSON", encoded("{")),
        ("not UTF-8", urlsafe_b64encode(b'["imports",["\xff"]]').decode()),
        ("no position", encoded('["imports"]')),
        (
            "another list",
            encoded('["errors",["2026-03-01T12:00:00Z","00000000-0000-0000-0000-000000000007"]]'),
        ),
        ("another type", encoded('["imports",[1.5,true]]')),
        ("no offset", encoded('["imports",["2026-03-01T12:00:00","00000000-0000-0000-0000-000000000007"]]')),
        (
            "out of range",
            encoded('["imports",["0001-01-01T00:00:00+23:00","00000000-0000-0000-0000-000000000007"]]'),
        ),
    ],
)
def test_what_is_no_cursor_is_refused(why: str, cursor: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        import_cursors.decode("imports", cursor)
    assert refused.value.code == "cursor_invalid", why


@pytest.mark.parametrize("position", ["[9223372036854775808,0]", "[1,2147483648]", "[-1,0]"])
def test_numbers_that_the_database_does_not_have_are_refused(position: str) -> None:
    with pytest.raises(Unprocessable):
        row_error_cursors.decode("e", encoded(f'["e",{position}]'))


@pytest.mark.parametrize("key", [r'"a\u0000"', r'"\ud800"', "7"])
def test_text_that_the_database_does_not_have_is_refused(key: str) -> None:
    with pytest.raises(Unprocessable):
        record_cursors.decode("r", encoded(f'["r",{key}]'))
