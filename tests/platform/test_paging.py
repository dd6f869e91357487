"""Cursors of keyset pages: what comes back, and what is refused."""

from base64 import urlsafe_b64encode
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts.problems import Unprocessable
from shared.platform.paging import MAX_CURSOR_LENGTH, Cursors, StorableText, page_of

IDS = Cursors[UUID](UUID)
KEYS = Cursors[str](StorableText)


def encoded(json: str) -> str:
    return urlsafe_b64encode(json.encode()).decode().rstrip("=")


def test_a_cursor_brings_its_position_back():
    position = uuid4()
    assert IDS.decode("webhooks", IDS.encode("webhooks", position)) == position
    assert KEYS.decode("r", KEYS.encode("r", 'ä/"🙂')) == 'ä/"🙂'


def test_without_a_cursor_it_is_the_first_page():
    assert IDS.decode("webhooks", None) is None


@pytest.mark.parametrize(
    ("why", "cursor"),
    [
        ("nothing", ""),
        ("not base64", "?"),
        ("not ASCII", "ä"),
        ("impossible length", "abcde"),
        ("not JSON", encoded("{")),
        ("not UTF-8", urlsafe_b64encode(b'["webhooks","\xff"]').decode()),
        ("no position", encoded('["webhooks"]')),
        ("another list", IDS.encode("deliveries", UUID(int=7))),
        ("another type", encoded('["webhooks",true]')),
    ],
)
def test_what_is_no_cursor_of_the_list_is_refused(why, cursor):
    with pytest.raises(Unprocessable) as refused:
        IDS.decode("webhooks", cursor)
    assert refused.value.code == "cursor_invalid", why
    assert "`next_cursor`" in (refused.value.hint or "")


@pytest.mark.parametrize("key", [r'"a\u0000"', r'"\ud800"', "7"])
def test_text_that_the_database_does_not_have_is_refused(key):
    with pytest.raises(Unprocessable):
        KEYS.decode("r", encoded(f'["r",{key}]'))


def test_storable_text():
    text = TypeAdapter(StorableText)
    assert text.validate_python("Bücher") == "Bücher"
    with pytest.raises(ValidationError, match=r"U\+0000"):
        text.validate_python("a\0b")


@pytest.mark.parametrize("character", ["a", "\x01", "🙂", '"'])
def test_the_longest_key_of_a_record_fits(character):
    assert len(KEYS.encode(f"records/{'x' * 63}", character * 255)) <= MAX_CURSOR_LENGTH


def test_one_row_more_than_asked_for_is_the_next_page():
    rows = [SimpleNamespace(id=number) for number in range(3)]
    assert page_of(rows, 3) == (rows, None)
    assert page_of(rows, 2) == (rows[:2], rows[1])
    assert page_of([], 2) == ([], None)
