"""What is read when, what rows are called, and which of them are errors that a pipeline has reported as well."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.notifier.backfill.matching import Matching
from services.notifier.backfill.rows import Ids, Meanings, Priced, Row, profile_of
from services.notifier.backfill.settings import ClickHouseSettings
from services.notifier.backfill.sources import SourceTable
from services.notifier.backfill.windows import AHEAD, read_again_from, windows
from services.notifier.logbook.matching import SAME_WITHIN, Sighting, matched
from shared.contracts.events import ColumnProfile

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 7, 10, 2, tzinfo=BERLIN)
URL = "https://reader:open%20sesame@clickhouse.example:8443/prices"


def read(**values):
    return ClickHouseSettings(clickhouse_url=URL, clickhouse_tenant="acme", **values).clickhouse


def test_without_a_url_there_is_nothing_to_read():
    assert ClickHouseSettings(clickhouse_url="").clickhouse is None


def test_where_things_are_can_be_set():
    sources = read(
        clickhouse_errors_table="logs.failures (happened_at, supplier, code)",
        clickhouse_reasons_table="error_list",
        clickhouse_prices_table="",
    )
    assert sources.errors == SourceTable("logs", "failures", ("happened_at", "supplier", "code"))
    assert sources.errors.quoted == "`logs`.`failures`"
    assert sources.reasons == SourceTable(None, "error_list", ("id", "error_text"))
    assert sources.prices is None
    assert sources.suppliers in sources.not_needed
    assert str(sources.address) == "clickhouse.example:8443, database prices"
    assert sources.address.password == "open sesame"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clickhouse_tenant": None}, "PENSTOCK_CLICKHOUSE_TENANT must be set"),
        ({"clickhouse_url": "clickhouse://reader:open%20sesame@host"}, "http://user:password@host:port/database"),
        ({"clickhouse_url": "http://reader:open%20sesame@host:port"}, "http://user:password@host:port/database"),
        ({"clickhouse_errors_table": "dif_errors(dt, supid)"}, "has 2 columns; in this order it needs dt, supid, error_id"),
        ({"clickhouse_errors_table": "dif`errors"}, "is no name of letters, digits and _"),
        ({"clickhouse_errors_table": "a; DROP TABLE b"}, "is no table; write table(dt, supid, error_id)"),
        ({"clickhouse_suppliers_table": "s(id, `name`)"}, "is no name of letters, digits and _"),
        ({"clickhouse_suppliers_table": "s(id, )"}, "leaves the name of a column out"),
        ({"clickhouse_timezone": "Berlin"}, "is no time zone"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_without_the_password(values, told):
    with pytest.raises(ValidationError) as error:
        ClickHouseSettings(**{"clickhouse_url": URL, "clickhouse_tenant": "acme"} | values)
    assert told in str(error.value)
    assert "sesame" not in str(error.value)


def test_no_setting_is_printed_with_the_password():
    settings = ClickHouseSettings(clickhouse_url=URL, clickhouse_tenant="acme")
    assert "sesame" not in f"{settings!r} {settings.clickhouse!r} {settings.clickhouse}"


@pytest.mark.parametrize(
    ("since", "logical_date", "begins"),
    [
        (None, date(2026, 7, 9), [None]),
        # The logical date is in it.
        (
            datetime(2026, 7, 8, 23, tzinfo=BERLIN),
            date(2026, 7, 9),
            [datetime(2026, 7, 8, 23, tzinfo=BERLIN)],
        ),
        # Catching up: nothing that the run before has not read.
        (datetime(2026, 7, 9, 2, tzinfo=BERLIN), date(2026, 7, 12), [datetime(2026, 7, 9, 2, tzinfo=BERLIN)]),
        # By hand: that day again.
        (
            datetime(2026, 7, 9, 2, tzinfo=BERLIN),
            date(2026, 3, 29),
            [datetime(2026, 3, 29, tzinfo=BERLIN), datetime(2026, 7, 9, 2, tzinfo=BERLIN)],
        ),
        # What is missing of that day.
        (
            datetime(2026, 7, 9, 2, tzinfo=BERLIN),
            date(2026, 7, 9),
            [datetime(2026, 7, 9, tzinfo=BERLIN), datetime(2026, 7, 9, 2, tzinfo=BERLIN)],
        ),
    ],
)
def test_what_a_run_reads(since, logical_date, begins):
    found = windows(since, logical_date, zone=BERLIN, now=NOW)

    assert [window.since for window in found] == begins
    assert found[-1].until == NOW + AHEAD
    for first, second in pairwise(found):
        assert first.since < first.until <= second.since  # nothing twice
        next_day = logical_date + timedelta(days=1)
        assert first.until <= datetime.combine(next_day, datetime.min.time(), BERLIN)


@pytest.mark.parametrize(
    ("kept_days", "begins"),
    [
        (400, "2026-07-08"),
        (2, "2026-07-08"),
        (1.5, "2026-07-08T12:00"),
        (0, "2026-07-09"),  # the last row was of then: what is behind it was never read
    ],
)
def test_what_may_have_been_forgotten_is_not_read_again(kept_days, begins):
    last = datetime(2026, 7, 9, tzinfo=BERLIN)
    kept_since = datetime(2026, 7, 10, tzinfo=BERLIN) - timedelta(days=kept_days)

    since = read_again_from(last, timedelta(days=1), kept_since)

    assert since == datetime.fromisoformat(begins).replace(tzinfo=BERLIN)
    found = windows(since, date(2026, 7, 7), zone=BERLIN, now=NOW, kept_since=kept_since)
    days = [datetime(2026, 7, 7, tzinfo=BERLIN)] if kept_days == 400 else []
    assert [window.since for window in found] == [*days, since]


rows = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["7", "70"]), st.sampled_from(["1", "0", ""])), max_size=12
)


@given(rows, st.integers(0, 12))
def test_each_row_has_an_id_and_the_same_one_wherever_reading_begins(drawn, late):
    read = [Row(1_780_000_000_000_000 + halves * 500_000, *rest) for halves, *rest in sorted(drawn)]
    ids = Ids()
    first = [ids.of(row) for row in read]
    assert len(set(first)) == len(first)
    # In order of time, as text too.
    assert [name[:10] for name in first] == sorted(name[:10] for name in first)

    begins = read[late].micros if late < len(read) else 2**60
    again = Ids()
    assert [again.of(row) for row in read if row.micros >= begins] == [
        name for name, row in zip(first, read, strict=True) if row.micros >= begins
    ]


def test_an_error_means_what_its_text_says():
    meanings = Meanings({"1": "Price deviation error", "2": "Line 7 was odd", "3": ""})
    assert [meanings.reason(error) for error in ("1", "2", "3", "4", "", "1")] == [
        "price_deviation",
        "Line 7 was odd",
        "3",
        "4",
        "unexpected",
        "price_deviation",
    ]


def test_the_profile_of_prices_is_that_of_a_column():
    priced = Priced(0, "7", rows=10, values=8, negatives=1, positives=6, typical=12.5)
    for one, typical in ((priced, 12.5), (priced._replace(positives=0, typical=float("nan")), None)):
        profile = ColumnProfile.model_validate(profile_of(one)["price"])
        assert (profile.values, profile.empty, profile.typical) == (8, 2, typical)


def sightings(prefix):
    """Up to 8 of two kinds within seconds, in steps of a third of what is still the same."""
    one = st.tuples(st.integers(0, 20), st.sampled_from(["7", "8"]))
    return st.lists(one, max_size=8).map(
        lambda drawn: [
            Sighting(f"{prefix}{number}", supplier, "late", NOW + step * SAME_WITHIN / 3)
            for number, (step, supplier) in enumerate(sorted(drawn))
        ]
    )


def most_pairs(rows, reported):
    """How many pairs there can be, by trying all ways (augmenting paths)."""
    owner = {}

    def find(row, tried):
        for event in reported:
            near = abs(event.occurred_at - row.occurred_at) <= SAME_WITHIN
            if near and event.supplier == row.supplier and event.event_id not in tried:
                tried.add(event.event_id)
                if event.event_id not in owner or find(owner[event.event_id], tried):
                    owner[event.event_id] = row
                    return True
        return False

    return sum(find(row, set()) for row in rows)


@given(sightings("row"), sightings("event"), st.integers(1, 4))
def test_as_many_are_paired_as_can_be_whatever_the_batches(rows, reported, size):
    whole = Matching().of(rows, reported)
    assert len(whole) == most_pairs(rows, reported)
    # Each of them has an event of its own, and the next run, which is not shown those that are kept, finds one for all.
    matched = [row for row in rows if row.event_id in whole]
    assert Matching().of(matched, reported) == whole

    batched, by_batches = Matching(), set()
    for begin in range(0, len(rows), size):
        batch = rows[begin : begin + size]
        by_batches |= batched.of(batch, reported)
        batched.forget_before(batch[-1].occurred_at)
    assert by_batches == whole


def nearest_first(reported, backfilled):
    """How far each reported event is from the one that it takes the place of, by looking at all pairs."""
    apart = sorted(
        (abs(here.occurred_at - there.occurred_at), here.occurred_at, here.event_id, there.event_id)
        for here in reported
        for there in backfilled
        if here.supplier == there.supplier
    )
    found, taken = {}, set()
    for distance, _, here_id, there_id in apart:
        if distance <= SAME_WITHIN and here_id not in found and there_id not in taken:
            found[here_id] = distance
            taken.add(there_id)
    return found


@given(sightings("event"), sightings("row"))
def test_an_event_takes_the_place_of_the_nearest_row(reported, rows):
    pairs = matched(reported, rows)
    assert len(set(pairs.values())) == len(pairs)
    by_id = {one.event_id: one for one in (*reported, *rows)}
    apart = {here: abs(by_id[here].occurred_at - by_id[there].occurred_at) for here, there in pairs.items()}
    assert apart == nearest_first(reported, rows)
