"""What a sample of an import's records looks like: what counts as what, what is in it, and that nothing counts twice."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.profile import SAMPLE_RECORDS, Sampler, added, profile_of
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import ColumnProfile
from shared.reading.errors import ReadFault
from shared.reading.records import RecordReader
from tests.processor.batches import batch_of, dataset_of, declared
from tests.processor.conftest import command
from tests.processor.given import written

TEXT = dataset_of(declared())
CELLS = st.sampled_from(["", " ", "a", "A-1", "b c", "1", "-2.50", "1e3", "0", ".", "12,5"])


def tallies(dataset, *batches):
    sampler = Sampler(dataset, {field.name: place for place, field in enumerate(dataset.fields)})
    for batch in batches:
        sampler.add(batch)
    return sampler.tallies()


def profile(dataset, *batches):
    return profile_of(tallies(dataset, *batches))


def seen(field, *cells):
    return profile(dataset_of(field), batch_of(*(["k", cell] for cell in cells)))["value"]


@pytest.mark.parametrize(
    ("field", "cell", "expected"),
    [
        (declared(), "", {"empty": 1}),
        (declared(trim=False), " \t", {"empty": 1}),
        (declared(), "two words", {"values": 1}),
        (declared(), " BRG-6204/2RS+x.1_ ", {"values": 1, "formatted": 1}),
        (declared(), "x", {"values": 1}),
        (declared(), "x" * 65, {"values": 1}),
        (declared(), "Ölfilter", {"values": 1, "formatted": 1}),
        (declared(), "007", {"values": 1, "numbers": 1, "positives": 1, "formatted": 1}),
        (declared(), "1,5", {"values": 1}),
        (declared(), "-", {"values": 1}),
        (declared(), "e5", {"values": 1, "formatted": 1}),
        (declared("number"), "-12.50", {"values": 1, "numbers": 1, "negatives": 1, "formatted": 1}),
        (declared("number"), "0", {"values": 1, "numbers": 1}),
        (
            declared("number", decimalChar=",", groupChar=".", bareNumber=False),
            "-1.234,50 €",
            {"values": 1, "numbers": 1, "negatives": 1},
        ),
        (declared("number", bareNumber=False), "$", {"values": 1}),
        # Beyond what a float can take a mean of: a number all the same.
        (declared("number"), "1e9999", {"values": 1, "numbers": 1, "formatted": 1}),
        (declared("number"), "1e-9999", {"values": 1, "numbers": 1, "formatted": 1}),
        # Out of the bounds that its column has, so rejected, and what an anomaly is found by.
        (
            declared("number", minimum=0),
            "-3",
            {"values": 1, "numbers": 1, "negatives": 1, "formatted": 1},
        ),
    ],
    ids=str,
)
def test_what_a_cell_counts_as(field, cell, expected):
    counted = seen(field, cell).model_dump(exclude={"typical"})
    assert {name: count for name, count in counted.items() if count} == expected


def test_the_typical_number_is_hardly_moved_by_an_extreme_one():
    prices = seen(declared("number"), *["100"] * 99, "100000000", "-5", "0", "n/a")
    assert (prices.positives, prices.numbers, prices.values) == (100, 102, 103)
    assert prices.typical == pytest.approx(100 * 10**0.06)
    assert seen(declared(), "a").typical is None


def test_the_largest_numbers_have_a_mean():
    assert seen(declared("number"), "1e300", "1e300").typical == pytest.approx(1e300)


def test_records_that_are_rejected_count_and_those_that_could_not_be_read_do_not():
    batch = batch_of(
        ["k1", "1"],
        ["k2"],
        ["k3", "3", "surplus"],
        ["?", "?"],
        faults={3: ReadFault("undecodable", "no UTF-8", "save it as UTF-8")},
    )
    found = profile(TEXT, batch)
    assert found["id"] == ColumnProfile(values=3, empty=0, formatted=3)
    assert (found["value"].values, found["value"].empty, found["value"].numbers) == (2, 1, 2)


def test_only_columns_that_the_file_has_are_told():
    sampler = Sampler(TEXT, {"id": 0})
    sampler.add(batch_of(["k1", "1"]))
    assert set(sampler.tallies()) == {"id"}


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=SAMPLE_RECORDS),
    st.lists(st.integers(0, SAMPLE_RECORDS), max_size=8),
)
def test_slices_add_up_to_the_whole_where_all_is_sampled(rows, cuts):
    dataset = dataset_of(declared("number"))
    whole = tallies(dataset, batch_of(*rows))
    together = tallies(dataset)
    for first, stop in pairwise(sorted({0, *cuts, len(rows)})):
        together = added(together, tallies(dataset, batch_of(*rows[first:stop], first_number=first + 1)))
    for column, counts in whole.items():
        assert together[column] == pytest.approx(counts)
        assert counts["values"] + counts["empty"] == len(rows)


@pytest.mark.parametrize("records", [501, 1_000, 60_000])
@pytest.mark.parametrize("period", [2, 3, 4, 7, 64])
def test_a_sample_is_even_whatever_comes_again_in_the_file(records, period):
    rows = [(str(place), "" if place % period else "x") for place in range(records)]
    found = profile(
        TEXT, *(batch_of(*rows[at : at + 999], first_number=at + 1) for at in range(0, records, 999))
    )
    sampled = found["value"].values + found["value"].empty
    assert SAMPLE_RECORDS / 2 - 1 <= sampled <= SAMPLE_RECORDS
    assert found["value"].values == pytest.approx(sampled / period, abs=0.02 * sampled)
    halves = profile(TEXT, batch_of(*((str(place), "x" * (place < records / 2)) for place in range(records))))
    assert halves["value"].values == pytest.approx(halves["value"].empty, abs=2)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(0, 10**9))
def test_what_is_sampled_does_not_depend_on_batches(sizes, before):
    rows = [(f"k{place}", str(place)) for place in range(sum(sizes))]
    whole = tallies(TEXT, batch_of(*rows, first_number=before + 1))
    ends = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
    parts = [batch_of(*rows[at:end], first_number=before + at + 1) for at, end in pairwise(ends)]
    assert tallies(TEXT, *parts) == whole


def test_records_in_even_columns_are_sampled_as_any_others():
    """The reader gives them as one flat list of cells."""
    file = written(("sku", "name"), [(f"S-{place}", place % 10 or None) for place in range(5_000)])
    reader = RecordReader(Dialect(), width=2)
    sampler = Sampler(datasets()["products"], {"name": 1})
    for batch in [*reader.feed(file), *reader.finish()]:
        if not batch.is_header:
            sampler.add(batch)
    name = profile_of(sampler.tallies())["name"]
    assert name.numbers == name.values
    assert name.empty == pytest.approx((name.values + name.empty) / 10, abs=8)


ROWS = [
    (f"SKU-{place}", "Hammer" if place % 3 else "", "12.50" if place % 4 else "-1") for place in range(60)
]


async def profile_told(mill):
    event = (await mill.events("import.completed"))[-1]
    return event.data.profile


async def test_an_import_tells_what_it_has_seen_of_its_columns(mill):
    """However it is cut, also when a slice is done again, is asked for twice, or the import is failed and goes on."""
    file = written(("sku", "name", "price", "weight"), [(*row, "1 kg") for row in ROWS])
    await mill.load(file, mill.pipeline(slice_bytes=1 << 20), dataset="products")
    told = await profile_told(mill)
    assert told["sku"] == ColumnProfile(values=60, empty=0, formatted=60)
    assert told["name"] == ColumnProfile(values=40, empty=20, formatted=40)
    assert told["price"].model_copy(update={"typical": None}) == ColumnProfile(
        values=60, empty=0, numbers=60, negatives=15, formatted=60, positives=45
    )
    assert told["price"].typical == pytest.approx(12.5)
    assert set(told) == {"sku", "name", "price"}

    pipeline = mill.pipeline(slice_bytes=200)
    import_id = await mill.take_on(file, dataset="products", tenant="other")
    work = await mill.begin(import_id, pipeline, records=20)
    await pipeline.process(command(import_id, 0))
    await pipeline.give_up(command(import_id, work["commanded"]), ValueError())
    await mill.retry(import_id, pipeline)
    await mill.finish(import_id, pipeline)
    again = await profile_told(mill)
    assert again == {
        column: profile.model_copy(
            update={"typical": pytest.approx(profile.typical) if profile.typical else None}
        )
        for column, profile in told.items()
    }
