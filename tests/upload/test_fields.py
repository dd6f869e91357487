"""What a request says of its file: every value that is right is understood, every wrong one is told what to send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.fields import FIELDS, asked_in
from shared.contracts.options import ImportOptions
from shared.contracts.problems import Unprocessable
from shared.reading.overrides import DialectOverrides


def test_every_option_and_every_override_is_a_field():
    assert set(FIELDS) == {
        "dataset",
        "data_source_name",
        "force",
        "corrects",
        *ImportOptions.model_fields,
        *DialectOverrides.model_fields,
    }


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        *(({"dry_run": said}, {"dry_run": True}) for said in ("true", "True", "1", "yes", " on ")),
        *(({"atomic": said}, {"atomic": False}) for said in ("false", "0", "no", "OFF", "")),
        (
            {"max_rejected": "0", "max_rejected_share": "0.05"},
            {"max_rejected": 0, "max_rejected_share": 0.05},
        ),
        ({"max_rejected": "", "max_rejected_share": " ", "date_order": ""}, {}),
        ({"max_rejected_share": "1"}, {"max_rejected_share": 1.0}),
        ({"date_order": "month-first"}, {"date_order": "month-first"}),
    ],
)
def test_options(fields, options):
    assert asked_in(fields).options == ImportOptions(**options)


@pytest.mark.parametrize(
    ("fields", "overrides"),
    [
        ({"delimiter": "tab"}, {"delimiter": "\t"}),
        ({"delimiter": "\t"}, {"delimiter": "\t"}),
        ({"delimiter": r"\t"}, {"delimiter": "\t"}),
        ({"delimiter": " "}, {"delimiter": " "}),
        ({"delimiter": "Semicolon"}, {"delimiter": ";"}),
        ({"delimiter": ", "}, {"delimiter": ", "}),
        ({"delimiter": "||"}, {"delimiter": "||"}),
        ({"delimiter": "", "quote": "", "escape": ""}, {}),
        ({"quote": "none", "escape": "backslash"}, {"quote": "", "escape": "\\"}),
        ({"quote": "'", "escape": "doubled"}, {"quote": "'", "escape": "doubled"}),
        ({"encoding": "Windows-1252"}, {"encoding": "cp1252"}),
        ({"encoding": " utf-8 "}, {"encoding": "utf-8"}),
        ({"encoding": "UTF-16"}, {"encoding": "utf-16"}),
        ({"header_rows": "0", "skip_rows": "3"}, {"header_rows": 0, "skip_rows": 3}),
    ],
)
def test_overrides(fields, overrides):
    assert asked_in(fields).given == DialectOverrides(**overrides)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dry_run": "maybe"}, "for dry_run send true or false"),
        ({"atomic": "2"}, "for atomic send true or false"),
        ({"max_rejected": "-1"}, "for max_rejected send a whole number, 0 or more"),
        ({"max_rejected": "many"}, "for max_rejected send a whole number, 0 or more"),
        ({"max_rejected": "1.5"}, "for max_rejected send a whole number, 0 or more"),
        ({"max_rejected_share": "5%"}, "for max_rejected_share send a number from 0 to 1"),
        ({"max_rejected_share": "5"}, "for max_rejected_share send a number from 0 to 1"),
        ({"max_rejected_share": "nan"}, "for max_rejected_share send a number from 0 to 1"),
        ({"date_order": "european"}, "for date_order send day-first or month-first"),
        ({"encoding": "klingon"}, "for encoding send utf-8, utf-16"),
        ({"delimiter": "123456789"}, "for delimiter send one to eight characters"),
        ({"delimiter": "\n"}, "for delimiter send one to eight characters"),
        ({"quote": "''"}, "for quote send one character, or one of: double, single, none"),
        ({"escape": "back"}, "for escape send one character, or one of: doubled, backslash, none"),
        ({"header_rows": "-1"}, "for header_rows send a whole number from 0 to 20"),
        ({"header_rows": "21"}, "for header_rows send a whole number from 0 to 20"),
        ({"skip_rows": "all"}, "for skip_rows send a whole number, 0 or more"),
        ({"skip_rows": "99999999999999999999"}, "for skip_rows send a whole number, 0 or more"),
        ({"quote": ","}, "for quote send one character"),
        ({"escape": ","}, "for escape send one character"),
        ({"delimiter": '"'}, "for delimiter send one to eight characters"),
    ],
)
def test_a_wrong_value_is_told_what_to_send(fields, said):
    with pytest.raises(Unprocessable) as caught:
        asked_in(fields)
    problem = caught.value
    assert problem.code == "field_invalid"
    assert said in problem.hint
    assert problem.extra["fields"] == [next(iter(fields))]
    assert next(iter(fields)) in problem.detail


def test_signs_that_cannot_go_together_are_both_named():
    with pytest.raises(Unprocessable) as caught:
        asked_in({"quote": "|", "delimiter": "pipe"})
    assert caught.value.extra["fields"] == ["delimiter", "quote"]
    assert "the quote cannot be part of the delimiter" in caught.value.detail


def test_all_wrong_values_of_a_kind_are_told_at_once():
    with pytest.raises(Unprocessable) as caught:
        asked_in({"delimiter": "\0", "skip_rows": "x", "dataset": "books"})
    assert caught.value.extra["fields"] == ["delimiter", "skip_rows"]


def test_an_unknown_field_is_told_those_there_are():
    with pytest.raises(Unprocessable) as caught:
        asked_in({"dryrun": "1"})
    assert caught.value.code == "field_unknown"
    assert "dry_run" in caught.value.hint


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.text(max_size=12)))
def test_any_value_is_understood_or_refused_by_name(fields):
    refused = None
    try:
        asked_in(fields)
    except Unprocessable as problem:
        refused = problem
    if refused is not None:
        assert refused.code == "field_invalid"
        assert set(refused.extra["fields"]) <= set(fields)
