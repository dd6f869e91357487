import pickle

import pytest

from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint
from shared.reading.splitting import Cells
from tests.reading.tables import RecordReader, batches

BARE = Dialect(header_rows=0)
REGULAR = b'1,a\n2,"b\nc"\n3,d\n4,e\n'
RAGGED = b"1,a\n2\n3,d\n4,e\n"


def first_batch(data, dialect=BARE):
    return next(batches(RecordReader(dialect), data + b"x,y\n", [1000]))


@pytest.mark.parametrize("data", [REGULAR, REGULAR.replace(b"4,e", b'4,e"f"')], ids=["regular", "any"])
def test_columns_are_the_fields_transposed(data):
    batch = first_batch(data)
    assert [list(column) for column in batch.columns(2)] == [
        list(column) for column in zip(*batch.fields, strict=True)
    ]
    assert list(batch.columns(2)[0]) == ["1", "2", "3", "4"]
    assert batch.columns(3) is None


def test_there_are_no_columns_where_a_record_is_ragged_or_faulty():
    assert first_batch(RAGGED).columns(2) is None
    assert first_batch(b"1,a\0\n2,b\n3,c\n").columns(2) is None


def test_good_records_in_even_columns_cost_no_row_and_no_place():
    batch = first_batch(REGULAR)
    batch.columns(2)
    assert isinstance(batch.values, Cells)
    assert not {"fields", "_places"} & set(vars(batch))


@pytest.mark.parametrize("data", [REGULAR, RAGGED], ids=["regular", "any"])
def test_a_part_is_the_same_records_with_its_own_checkpoint(data):
    batch = first_batch(data)
    for start in range(len(batch)):
        for stop in range(start + 1, len(batch) + 1):
            part = batch.part(start, stop)
            assert list(part) == list(batch)[start:stop]
            assert part.checkpoint == batch.checkpoint_before(stop)
    last = batch.record(3).position
    assert batch.checkpoint_before(3) == Checkpoint(last.byte_offset, 3, last.line_number - 1)


def test_a_part_keeps_its_faults():
    batch = first_batch(b"1\n2\0\n3\n")
    assert {index: fault.code for index, fault in batch.part(1, 3).faults.items()} == {0: "nul_byte"}


def test_a_batch_may_go_to_another_process():
    batch = first_batch(REGULAR)
    assert list(pickle.loads(pickle.dumps(batch))) == list(batch)  # noqa: S301 - it is ours


def test_the_records_of_a_header_are_alone_and_its_end_alone_is_a_place_to_go_on():
    reader = RecordReader(Dialect(header_rows=2))
    found = list(batches(reader, b"a\n\nb\n1\n2\n", [1000]))
    assert [(batch.is_header, batch.fields) for batch in found] == [
        (True, [["a"]]),
        (True, [["b"]]),
        (False, [["1"]]),
        (False, [["2"]]),
    ]
    assert [batch.checkpoint for batch in found[:2]] == [Checkpoint(), Checkpoint(5, 0, 3)]
