"""Which declarations of `search` are sound, and what SQL comes of them."""

import pytest
from pydantic import ValidationError

from shared.contracts.datasets import Dataset, datasets
from shared.contracts.record_search import document_sql, has_words


@pytest.mark.parametrize("dataset", datasets().values(), ids=datasets().keys())
def test_every_dataset_of_today_is_searched(dataset):
    assert dataset.search
    for name in dataset.search:
        assert f"r.{name}" in document_sql(dataset, "r")


@pytest.mark.parametrize(
    ("search", "why"),
    [
        (["sku", "colour"], "'colour' cannot be searched: 'products' has no such field"),
        (["price"], "'price' cannot be searched by words: it is a number"),
        (["name", "name"], "search names a field more than once"),
    ],
)
def test_what_is_searched_is_declared_text(search, why):
    declared = datasets()["products"].model_dump(by_alias=True)
    with pytest.raises(ValidationError, match=why):
        Dataset.model_validate(declared | {"search": search})


def test_without_a_search_there_are_no_words():
    declared = datasets()["products"].model_copy(update={"search": ()})
    with pytest.raises(ValueError, match="declares no search"):
        document_sql(declared, "r")


@pytest.mark.parametrize(
    ("sought", "anything"), [("x", True), ("٣", True), ("㎏", True), ("--", False), ("", False)]
)
def test_there_is_something_to_search_for_if_there_is_a_letter_or_a_digit(sought, anything):
    assert has_words(sought) == anything
