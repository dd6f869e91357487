"""What is odd about a supplier's day."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.analyses.anomalies import (
    duplicate_file,
    failed_file,
    header_change,
    reject_rate,
    row_count,
)
from services.notifier.analyses.cadence import GoodDays
from services.notifier.analyses.columns import column_verdicts
from services.notifier.analyses.findings import JUDGEMENTS, Delivered, File
from services.notifier.analyses.judging import Facts, judge
from services.notifier.analyses.thresholds import Thresholds
from shared.contracts.events import ColumnProfile

THRESHOLDS = Thresholds()
TODAY = date(2026, 3, 9)
FILE = File(id="f", day=TODAY, status="good", dataset="products", path="in/prices.csv", rows=1000, rejected=0)
BEFORE = replace(FILE, id="b", day=TODAY - timedelta(days=1))


def come_to(verdicts):
    return max((verdict.judgement for verdict in verdicts), key=JUDGEMENTS.index, default=None)


@pytest.mark.parametrize(
    ("rows", "before", "weekday", "expected", "why"),
    [
        (1300, 1000, [], "passed", "30 % more are no more than 30 %"),
        (1301, 1000, [], "warn", "31 % more"),
        (700, 1000, [], "passed", "30 % fewer"),
        (699, 1000, [], "warn", "31 % fewer"),
        (1000, None, [], None, "nothing to compare with"),
        (1000, 0, [], None, "from nothing to something is no share"),
        (None, 1000, [1000] * 4, None, "nobody counted"),
        (1200, 1000, [990, 1000, 1010], "passed", "three of the weekday are too few"),
        (1200, 1000, [990, 1000, 1010, 1000], "fail", "far outside 3 deviations of 8"),
        (1020, 1000, [990, 1000, 1010, 1000], "passed", "within 3 deviations"),
        (1030, 1000, [1000] * 10, "passed", "a deviation is at least 1 % of the mean"),
        (1031, 1000, [1000] * 10, "fail", "and this is more than three of them"),
        (2000, 1000, [500, 2000, 400, 2100], "warn", "usual for the weekday, but not since yesterday"),
        (2000, None, [1000] * 4, "fail", "the weekday alone tells"),
    ],
)  # fmt: skip
def test_row_count(rows, before, weekday, expected, why):
    delivered = Delivered(
        replace(FILE, rows=rows),
        before=None if before is None else replace(BEFORE, rows=before),
        weekday_rows=weekday,
    )
    assert come_to(row_count(delivered, THRESHOLDS)) == expected, why


@pytest.mark.parametrize(
    ("rejected", "before", "expected", "why"),
    [
        (150, 50, "passed", "10 points more"),
        (151, 50, "warn", "more than that"),
        (499, 50, "warn", "just below a half"),
        (500, 50, "fail", "a half"),
        (900, 850, "passed", "it always is"),
        (10, 500, "passed", "it got better"),
        (500, None, None, "nobody counted before"),
    ],
)
def test_reject_rate(rejected, before, expected, why):
    delivered = Delivered(replace(FILE, rejected=rejected), before=replace(BEFORE, rejected=before))
    assert come_to(reject_rate(delivered, THRESHOLDS)) == expected, why


@pytest.mark.parametrize(
    ("header", "before", "expected", "says"),
    [
        (["SKU", "Name"], ["sku", "na_me"], "passed", ""),
        (["sku"], ["sku", "name"], "fail", "prices.csv comes without `name` since 2026-03-08"),
        (["sku", "name", "price"], ["sku", "name"], "warn", "prices.csv comes with `price` since 2026-03-08"),
        (["name", "sku"], ["sku", "name"], "warn", "prices.csv comes in another order since 2026-03-08"),
        (
            ["price", "sku", "a"],
            ["sku", "name", "price"],
            "fail",
            "prices.csv comes without `name`, with `a`, in another order since 2026-03-08",
        ),
        (list("abcdefs"), ["s"], "warn", "prices.csv comes with `a`, `b`, `c` and 3 more columns since 2026-03-08"),
    ],
)  # fmt: skip
def test_header_change(header, before, expected, says):
    delivered = Delivered(replace(FILE, header=header), before=replace(BEFORE, header=before))
    [verdict] = header_change(delivered, THRESHOLDS)
    assert (verdict.judgement, verdict.says) == (expected, says)


def test_without_a_header_none_has_changed():
    assert header_change(Delivered(FILE, before=replace(BEFORE, header=["sku"])), THRESHOLDS) == []


def test_duplicates_and_failures():
    assert come_to(duplicate_file(Delivered(FILE), THRESHOLDS)) == "passed"
    assert come_to(duplicate_file(Delivered(FILE, same_as=BEFORE), THRESHOLDS)) == "warn"
    failed = replace(FILE, status="failed")
    assert failed_file([]) == []
    assert come_to(failed_file([FILE])) == "passed"
    assert come_to(failed_file([FILE, failed])) == "warn"
    assert come_to(failed_file([failed])) == "fail"


def profile(values=100, **more):
    return ColumnProfile(values=values, empty=more.pop("empty", 0), **more).model_dump(mode="json")


def prices(typical, **more):
    return profile(numbers=100, typical=typical, positives=more.pop("positives", 100), **more)


def verdicts_of(columns, *, before=None, month_before=None, dataset="products"):
    delivered = Delivered(
        replace(FILE, profile=columns, dataset=dataset),
        before=None if before is None else replace(BEFORE, profile=before, dataset=dataset),
        month_before=None
        if month_before is None
        else replace(BEFORE, id="m", profile=month_before, dataset=dataset),
    )
    return {
        verdict.finding: verdict.judgement
        for verdict in column_verdicts(delivered, THRESHOLDS)
        if verdict.judgement != "passed"
    }


WORDS, NUMBERS = profile(numbers=5), profile(numbers=80)


@pytest.mark.parametrize(
    ("columns", "before", "month_before", "expected", "why"),
    [
        ({"sku": profile(50, empty=50, formatted=50)}, None, None, {}, "half of the key is empty"),
        ({"sku": profile(49, empty=51, formatted=49)}, None, None, {"missing_values": "fail"}, "more than half"),
        ({"sku": profile(0, empty=100)}, None, None, {"missing_values": "fail"}, "all of it"),
        ({"sku": profile(1, empty=1, formatted=1)}, None, None, {}, "two cells say nothing"),
        ({"name": profile(1, empty=99)}, None, None, {}, "no key"),
        ({"sku": profile(formatted=70)}, None, None, {}, "70 % are well-formed"),
        ({"sku": profile(formatted=69)}, None, None, {"sku_format": "warn"}, "69 %"),
        ({"name": profile(formatted=0)}, None, None, {}, "a name need not be"),
        ({"sku": profile(formatted=100, numbers=100)}, None, None, {}, "a key may be a number"),
        ({"name": profile(numbers=30)}, None, None, {}, "30 % of a text are numbers"),
        ({"name": profile(numbers=31)}, None, None, {"numbers_in_text": "warn"}, "31 %, in the first file"),
        ({"name": NUMBERS}, {"name": WORDS}, {"name": WORDS}, {"numbers_in_text": "warn"}, "since today"),
        ({"name": NUMBERS}, {"name": NUMBERS}, {"name": WORDS}, {"numbers_in_text": "warn"}, "for some days"),
        ({"name": NUMBERS}, {"name": NUMBERS}, {"name": NUMBERS}, {}, "for a month: it is how they are"),
        ({"name": NUMBERS}, {}, None, {"numbers_in_text": "warn"}, "the column is new"),
        ({"price": prices(13)}, {"price": prices(10)}, None, {}, "30 % dearer"),
        ({"price": prices(13.1)}, {"price": prices(10)}, None, {"price_deviation": "fail"}, "31 % dearer"),
        ({"price": prices(6.9)}, {"price": prices(10)}, None, {"price_deviation": "fail"}, "31 % cheaper"),
        ({"price": prices(99)}, {"price": prices(10, positives=2)}, None, {}, "two prices are not typical"),
        ({"price": prices(99)}, None, None, {}, "nothing to compare with"),
        ({"price": prices(0.01)}, None, None, {}, "a cent"),
        ({"price": prices(0.009)}, None, None, {"price_too_low": "fail"}, "less than that"),
        ({"price": prices(9, negatives=1)}, None, None, {"negative_value": "fail"}, "one is enough"),
        ({"stock_quantity": profile(numbers=9, negatives=1)}, None, None, {"negative_value": "fail"}, "nor pieces"),
        ({"unknown": profile(numbers=9, negatives=1)}, None, None, {}, "no column of the dataset"),
    ],
)  # fmt: skip
def test_columns(columns, before, month_before, expected, why):
    assert verdicts_of(columns, before=before, month_before=month_before) == expected, why


def test_a_return_is_no_negative_value():
    sold = {"quantity": profile(numbers=9, negatives=3), "unit_price": prices(5, negatives=1)}
    assert verdicts_of(sold, dataset="sales") == {"negative_value": "fail"}
    assert verdicts_of({"quantity": sold["quantity"]}, dataset="sales") == {}


def test_of_files_whose_dataset_nobody_knows_prices_are_known():
    dear = {"price": prices(20), "sku": profile(0, empty=9)}
    assert verdicts_of(dear, before={"price": prices(10)}, dataset=None) == {"price_deviation": "fail"}


def daily(until, days=60):
    good = [until - timedelta(days=days - 1 - number) for number in range(days)]
    return GoodDays(good[0], good)


@pytest.mark.parametrize(
    ("good", "delivered", "reasons", "late_days", "expected", "found"),
    [
        (daily(TODAY), [Delivered(FILE)], [], 0, "passed", []),
        (daily(TODAY), [Delivered(FILE, before=replace(BEFORE, rows=100))], [], 0, "warn", ["row_count"]),
        (daily(TODAY), [], ["file_read"], 0, "warn", ["new_reason"]),
        (daily(TODAY - timedelta(days=1)), [], [], 0, "fail", ["late"]),
        (daily(TODAY - timedelta(days=1)), [], [], 1, "warn", ["late"]),
        (daily(TODAY - timedelta(days=2)), [], [], 1, "fail", ["late"]),
        (daily(TODAY - timedelta(days=400)), [], [], 0, "fail", ["late"]),
        (daily(TODAY - timedelta(days=1), 14), [], [], 0, "fail", ["late"]),
        (daily(TODAY - timedelta(days=1), 13), [], [], 0, "no_data", []),
        (GoodDays(), [], [], 0, "no_data", []),
        (GoodDays(), [Delivered(replace(FILE, status="failed"))], [], 0, "fail", ["failed_file"]),
        (GoodDays(), [Delivered(replace(FILE, status="received"))], [], 0, "passed", []),
    ],
    ids=[
        "a file as ever",
        "one that is odd",
        "an error of a new kind, and no file",
        "it did not come",
        "it did not come, but it may be late by a day",
        "nor the day after",
        "for more than a year",
        "it had come for two weeks",
        "it had not come for two weeks yet",
        "nobody ever sent a file",
        "only a file that failed",
        "a file that is still on its way through",
    ],
)
def test_the_state_of_a_day(good, delivered, reasons, late_days, expected, found):  # noqa: PLR0917
    facts = Facts("acme", good, delivered, reasons)
    analysis = judge(facts, TODAY, replace(THRESHOLDS, late_days=late_days))
    assert (analysis.state, [finding.name for finding in analysis.odd]) == (expected, found)
    assert set(analysis.passed).isdisjoint(found)
    assert all(finding.summary and finding.evidence for finding in analysis.odd)


def test_of_several_files_the_worst_counts_and_all_are_evidence():
    files = [
        Delivered(replace(FILE, path=path, rows=rows), before=BEFORE, weekday_rows=weekday)
        for path, rows, weekday in (("a.csv", 1000, []), ("b.csv", 100, []), ("c.csv", 500, [1000] * 4))
    ]
    corrected = Delivered(replace(FILE, path="d.csv", rows=1), before=BEFORE, superseded=True)
    [found] = judge(Facts("acme", daily(TODAY), [*files, corrected]), TODAY, THRESHOLDS).odd
    assert (found.name, found.judgement) == ("row_count", "fail")
    assert found.summary == "c.csv has 500 records; on a Monday it is 1,000 ± 10 (and 2 more)"
    assert [(one["file"], one["state"]) for one in found.evidence] == [
        ("c.csv", "fail"),
        ("b.csv", "warn"),
        ("c.csv", "warn"),
    ]


def test_of_a_file_that_failed_what_is_odd_tells_why_and_nothing_is_right_again():
    empty = replace(
        FILE, status="failed", header=["sku"], rejected=1000, profile={"sku": profile(0, empty=99)}
    )
    before = replace(BEFORE, header=["sku"], rejected=0, rows=10)
    analysis = judge(Facts("acme", GoodDays(), [Delivered(empty, before=before)]), TODAY, THRESHOLDS)
    assert {finding.name: finding.judgement for finding in analysis.odd} == {
        "failed_file": "fail",
        "missing_values": "fail",
        "reject_rate": "fail",
    }
    assert analysis.passed == ["new_reason"]
    put_right = Delivered(empty, before=before, superseded=True)
    [failed] = judge(Facts("acme", GoodDays(), [put_right]), TODAY, THRESHOLDS).odd
    assert failed.name == "failed_file"


COUNTS = st.integers(0, 500)
PROFILES = st.builds(
    ColumnProfile,
    values=COUNTS,
    empty=COUNTS,
    numbers=COUNTS,
    negatives=COUNTS,
    formatted=COUNTS,
    typical=st.none() | st.floats(1e-300, 1e300),
    positives=st.just(0),
).map(lambda one: one.model_copy(update={"positives": one.numbers if one.typical else 0}).model_dump())
FILES = st.builds(
    File,
    id=st.text(max_size=3),
    day=st.just(TODAY),
    status=st.sampled_from(["good", "failed", "received"]),
    dataset=st.sampled_from([None, "products", "sales", "nobody's"]),
    path=st.none() | st.text(max_size=9),
    rows=st.none() | COUNTS,
    rejected=st.none() | COUNTS,
    header=st.none() | st.lists(st.text(max_size=3), max_size=4),
    profile=st.dictionaries(st.sampled_from(["sku", "name", "price", "quantity"]), PROFILES, max_size=4),
)
DELIVERED = st.builds(
    Delivered,
    file=FILES,
    before=st.none() | FILES,
    month_before=st.none() | FILES,
    weekday_rows=st.lists(COUNTS, max_size=6),
)


@settings(max_examples=30)
@given(st.lists(DELIVERED, max_size=3))
def test_whatever_files_say_comes_to_something(delivered):
    analysis = judge(Facts("acme", daily(TODAY), delivered), TODAY, THRESHOLDS)
    worst = come_to(analysis.findings)
    assert analysis.state == ("no_data" if worst == "passed" and not delivered else worst)
    assert all(finding.evidence for finding in analysis.odd)
    assert json.dumps([finding.document() for finding in analysis.odd], allow_nan=False)
