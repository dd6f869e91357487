"""Which entity tags a condition names (RFC 9110, sections 8.8.3 and 13.1)."""

import pytest

from shared.contracts.record_etag import TagsInvalid, tags_in


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        ("*", ("*",), ("*",)),
        ('"a"', ("a",), ("a",)),
        (' "a" ,, W/"b",\t"c,d" ', ("a", "c,d"), ("a", "b", "c,d")),
        ('""', ("",), ("",)),
        ('W/"a"', (), ("a",)),
        ('"*"', (), ()),  # a tag that no record has
    ],
)
def test_the_tags_of_a_condition(header, strong, weak):
    assert tags_in(header, weak=False) == strong
    assert tags_in(header, weak=True) == weak


@pytest.mark.parametrize("header", ["", ",", "a", '"a', '"a" "b"', '"a"x', 'w/"a"', "*, *", '*, "a"'])
def test_what_is_no_condition(header):
    with pytest.raises(TagsInvalid):
        tags_in(header, weak=True)
