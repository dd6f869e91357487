"""Dates and moments, and the order that a column's dates are in."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.checking import date_orders_of
from tests.processor.batches import batch_of, check_values, dataset_of, declared, result_of

ANY_DATE = declared("date", format="any")
ANY_TIME = declared("datetime", format="any")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("2024-03-04", "2024-03-04"),
        (" 2024-03-04 ", "2024-03-04"),
        ("2024-02-29", "2024-02-29"),
        ("2023-02-29", ["not_a_date"]),
        ("2024-13-01", ["not_a_date"]),
        ("0000-01-01", ["not_a_date"]),
        ("2024-03-04T00:00:00", "2024-03-04"),
        ("2024-03-04 14:05", ["not_a_date"]),  # the time would be lost
        ("2024-3-4", ["not_a_date"]),
        ("20240304", ["not_a_date"]),
        ("31/12/2024", ["not_a_date"]),
        ("2024-W10-1", ["not_a_date"]),
        ("２０２４-03-04", ["not_a_date"]),
        ("45355", ["not_a_date"]),  # a spreadsheet's day number
        ("today", ["not_a_date"]),
        ("2" * 100_000, ["not_a_date"]),
    ],
)
def test_dates_in_iso_form(value, stored):
    assert result_of(declared("date"), value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("2024/3/4", "2024-03-04"),
        ("2024.03.04", "2024-03-04"),
        ("20240304", "2024-03-04"),
        ("2024111", ["not_a_date"]),  # of two days
        ("2024-3/4", ["not_a_date"]),
        ("31/12/2024", "2024-12-31"),
        ("12/31/2024", "2024-12-31"),
        ("31.12.2024", "2024-12-31"),
        ("5/5/2024", "2024-05-05"),  # the same in any order
        ("3/4/2024", ["date_ambiguous"]),
        ("03.04.2024", ["date_ambiguous"]),
        ("31/31/2024", ["not_a_date"]),
        ("0/1/2024", ["not_a_date"]),
        ("30/02/2024", ["not_a_date"]),
        ("3/4/24", ["not_a_date"]),
        ("4 Mar 2024", "2024-03-04"),
        ("04-MAR-2024", "2024-03-04"),
        ("4th March 2024", "2024-03-04"),
        ("March 4, 2024", "2024-03-04"),
        ("Mar. 4 2024", "2024-03-04"),
        ("4 Mrz 2024", ["not_a_date"]),
        ("31 Feb 2024", ["not_a_date"]),
    ],
)
def test_dates_in_any_form(value, stored):
    assert result_of(ANY_DATE, value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("2024-03-04 14:05:06", "2024-03-04 14:05:06+00:00"),
        ("2024-03-04", "2024-03-04 00:00:00+00:00"),
        ("2024-03-04 14:05", "2024-03-04 14:05:00+00:00"),
        ("2024-03-04T14:05:06Z", "2024-03-04 14:05:06+00:00"),
        ("2024-03-04T14:05:06+02:00", "2024-03-04 12:05:06+00:00"),
        ("2024-03-04T14:05:06 -0530", "2024-03-04 19:35:06+00:00"),
        ("2024-03-04T14:05:06+02", "2024-03-04 12:05:06+00:00"),
        ("2024-03-04 14:05:06.123456", "2024-03-04 14:05:06.123456+00:00"),
        ("2024-03-04 14:05:06,5", "2024-03-04 14:05:06.500000+00:00"),
        ("2024-03-04 14:05:06.1234560", "2024-03-04 14:05:06.123456+00:00"),
        ("2024-03-04 14:05:06.1234567", ["not_a_datetime"]),  # a part of it would be lost
        ("2024-03-04 24:00:00", ["not_a_datetime"]),
        ("2024-03-04 14:60:00", ["not_a_datetime"]),
        ("2023-02-29 14:05:06", ["not_a_datetime"]),
        ("12/31/2024 2:05 PM", "2024-12-31 14:05:00+00:00"),
        ("12/31/2024 12:05 am", "2024-12-31 00:05:00+00:00"),
        ("12/31/2024 13:05 PM", ["not_a_datetime"]),
        ("12/31/2024 8:26", "2024-12-31 08:26:00+00:00"),
        ("31 Dec 2024, 08:26:00 GMT", "2024-12-31 08:26:00+00:00"),
        ("3/4/2024 8:26", ["date_ambiguous"]),
        ("0001-01-01 00:00:00+14:00", ["not_a_datetime"]),  # before the first year
        ("2024-03-04 14:05:06+25:00", ["not_a_datetime"]),
        ("14:05", ["not_a_datetime"]),
        ("1709561106", ["not_a_datetime"]),
    ],
)
def test_moments(value, stored):
    assert result_of(ANY_TIME, value) == stored


def test_both_ways_of_writing_a_plain_moment_are_the_same_to_postgresql():
    assert result_of(ANY_TIME, "2024-03-04T14:05:06") == "2024-03-04T14:05:06+00:00"


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is drawn beside it
    st.integers(-14 * 60, 14 * 60),
)
def test_a_moment_with_an_offset_is_kept_exactly(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    stored = result_of(declared("datetime"), aware.isoformat())
    assert datetime.fromisoformat(stored) == aware
    assert datetime.fromisoformat(stored).utcoffset() == timedelta(0)


@given(st.dates())
def test_a_date_is_the_same_in_every_form(day):
    unambiguous = [day.isoformat(), f"{day:%d %b} {day.year:04}", f"{day:%Y%m%d}".rjust(8, "0")]
    assert {result_of(ANY_DATE, written) for written in unambiguous} == {day.isoformat()}
    for order, written in (
        ("day-first", f"{day.day}/{day.month}/{day.year:04}"),
        ("month-first", f"{day.month}/{day.day}/{day.year:04}"),
    ):
        assert result_of(ANY_DATE, written, date_orders={"value": order}) == day.isoformat()


def test_a_declared_pattern():
    assert result_of(declared("date", format="%d.%m.%y"), "04.03.24") == "2024-03-04"
    assert result_of(declared("date", format="%d.%m.%y"), "2024-03-04") == ["not_a_date"]
    german = declared("datetime", format="%d.%m.%Y %H:%M", timezone="Europe/Berlin")
    assert result_of(german, "04.03.2024 14:05") == "2024-03-04 13:05:00+00:00"
    offset = declared("datetime", format="%Y%m%d%H%M%S%z")
    assert result_of(offset, "20240304140506+0200") == "2024-03-04 12:05:06+00:00"


BERLIN = declared("datetime", timezone="Europe/Berlin")


def test_a_time_without_an_offset_is_of_the_declared_zone():
    assert result_of(BERLIN, "2024-07-01 12:00:00") == "2024-07-01 10:00:00+00:00"
    assert result_of(BERLIN, "2024-07-01 12:00:00Z") == "2024-07-01 12:00:00+00:00"


def test_a_time_that_a_clock_change_left_out_does_not_exist():
    [fault] = check_values(BERLIN, "2024-03-31 02:30:00").faults[0]
    assert fault.code == "not_a_datetime"
    assert "clock change in Europe/Berlin" in fault.message
    assert result_of(BERLIN, "2024-03-31 02:30:00+01:00") == "2024-03-31 01:30:00+00:00"


def test_a_time_that_came_twice_is_the_first_and_counted():
    checked = check_values(BERLIN, "2024-10-27 02:30:00", "2024-10-27 12:30:00", "2024-10-27T02:30:00Z")
    assert list(checked.columns[1]) == [
        "2024-10-27 00:30:00+00:00", "2024-10-27 11:30:00+00:00", "2024-10-27 02:30:00+00:00",
    ]  # fmt: skip
    assert checked.notes == {"time_ambiguous:value": 1}


def test_an_order_says_what_ambiguous_dates_are_and_they_are_counted():
    values = ["3/4/2024", " 3/4/2024", "31/12/2024", "5/5/2024", "2024-03-04", ""]
    checked = check_values(ANY_DATE, *values, date_orders={"value": "day-first"})
    assert list(checked.columns[1]) == [
        "2024-04-03", "2024-04-03", "2024-12-31", "2024-05-05", "2024-03-04", None,
    ]  # fmt: skip
    assert checked.notes == {"date_ambiguous:value": 2}
    other = check_values(ANY_DATE, "3/4/2024", date_orders={"value": "month-first"})
    assert list(other.columns[1]) == ["2024-03-04"]


def test_only_dates_of_records_that_are_loaded_are_counted():
    field = declared("date", format="any", maximum="2024-06-01")
    checked = check_values(field, "3/4/2024", "3/12/2024", date_orders={"value": "day-first"})
    assert [fault.code for fault in checked.faults[1]] == ["above_maximum"]
    assert checked.notes == {"date_ambiguous:value": 1}


def test_a_date_against_its_columns_order_is_told_rather_than_trusted():
    checked = check_values(ANY_DATE, "12/31/2024", date_orders={"value": "day-first"})
    [fault] = checked.faults[0]
    assert fault.code == "date_order_mixed"
    assert fault.message == "Value '12/31/2024' is month-first, while the dates of this column are day-first"


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (declared("date", minimum="2000-01-01"), "1999-12-31", ["below_minimum"]),
        (declared("date", minimum="2000-01-01"), "2000-01-01", "2000-01-01"),
        (declared("date", maximum="today"), "2024-06-30", "2024-06-30"),
        (declared("date", maximum="today"), "2024-07-01", ["above_maximum"]),
        (declared("date", maximum="today", timezone="Pacific/Auckland"), "2024-07-01", "2024-07-01"),
        (declared("date", maximum="next-year"), "2025-12-31", "2025-12-31"),
        (declared("date", minimum="next-year"), "2024-12-31", ["below_minimum"]),
        (declared("datetime", maximum="today"), "2024-06-30T23:59:59Z", "2024-06-30 23:59:59+00:00"),
        (declared("datetime", maximum="today"), "2024-07-01T00:00:00Z", ["above_maximum"]),
        (declared("datetime", minimum="2000-01-01"), "1999-12-31T23:59:59Z", ["below_minimum"]),
        (declared("datetime", minimum="2000-01-01T12:00:00+02:00"), "2000-01-01T10:00:00Z", "2000-01-01 10:00:00+00:00"),
        (declared("datetime", minimum="2000-01-01T12:00:00+02:00"), "2000-01-01T09:59:59Z", ["below_minimum"]),
    ],
)  # fmt: skip
def test_bounds_of_dates(field, value, stored):
    assert result_of(field, value) == stored


def test_bounds_of_dates_are_said_in_words():
    [fault] = check_values(declared("date", maximum="next-year"), "2204-03-04").faults[0]
    assert fault.message == "Value 2204-03-04 is after 2025-12-31"
    assert fault.rule == "maximum 2025-12-31"


DATES = dataset_of(
    declared("date", format="any", name="day"), declared("datetime", format="any", name="time")
)
COLUMNS = {"id": 0, "day": 1, "time": 2}


def orders(*days, given_order=None, width=3):
    batches = [batch_of(["k", day, "2024-01-01"]) for day in days]
    return date_orders_of(DATES, COLUMNS, width, batches, given_order)


@pytest.mark.parametrize(
    ("days", "order"),
    [
        (["3/4/2024", "31/12/2024"], "day-first"),
        (["3/4/2024", " 12/31/2024 10:15"], "month-first"),
        (["3/4/2024", "5/5/2024"], None),  # no evidence
        (["31/12/2024", "12/31/2024"], None),  # evidence for both
        (["31/31/2024", "99/1/2024", "x", ""], None),
        ([], None),
    ],
)
def test_the_order_of_a_columns_dates_is_what_its_values_prove(days, order):
    assert orders(*days) == ({"day": order} if order else {})


def test_an_order_that_is_given_needs_no_evidence():
    assert orders("12/31/2024", given_order="day-first") == {"day": "day-first", "time": "day-first"}


def test_records_of_another_width_prove_nothing():
    assert orders("31/12/2024", width=4) == {}


def test_columns_that_the_file_lacks_have_no_order():
    batch = batch_of(["31/12/2024"])
    assert date_orders_of(DATES, {"time": 0}, 1, [batch], None) == {"time": "day-first"}


def test_dates_in_iso_form_need_no_order():
    plain = dataset_of(declared("date", name="day"))
    assert date_orders_of(plain, {"id": 0, "day": 1}, 2, [batch_of(["k", "31/12/2024"])], "day-first") == {}


@given(
    st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=1),
    st.sampled_from(["%d/%m/%Y", "%m/%d/%Y"]),
)
def test_evidence_never_proves_the_wrong_order(days, written):
    found = orders(*(day.strftime(written) for day in days))
    proves = any(day.day > 12 for day in days)
    expected = "day-first" if written.startswith("%d") else "month-first"
    assert found == ({"day": expected} if proves else {})
