import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.reading import unpacking as module
from shared.reading.errors import GzipInvalid, GzipRatioTooHigh, GzipTruncated, UnpackedTooLarge
from shared.reading.unpacking import PIECE_BYTES, RATIO_JUDGED_BYTES, Gunzip
from tests.reading.tables import BLOCK_SIZES, blocks

NO_LIMIT = 1 << 40


def unpacked(data, sizes=(1 << 16,), max_bytes=NO_LIMIT, max_ratio=NO_LIMIT):
    gunzip = Gunzip(max_bytes, max_ratio)
    pieces = [piece for chunk in blocks(data, sizes) for piece in gunzip.feed(chunk)]
    gunzip.finish()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(0, 20), BLOCK_SIZES)
def test_members_come_out_one_after_the_other_however_they_are_cut(contents, padding, sizes):
    data = b"".join(map(gzip.compress, contents)) + bytes(padding)
    assert unpacked(data, sizes) == b"".join(contents)


def test_a_large_file_comes_out_in_pieces():
    content = random.Random(1).randbytes(1000) * 5000
    assert unpacked(gzip.compress(content), [100_000]) == content


@given(st.integers(0, 200), BLOCK_SIZES)
def test_a_file_that_ends_too_early_is_truncated(length, sizes):
    data = gzip.compress(random.Random(1).randbytes(300))
    with pytest.raises(GzipTruncated) as caught:
        unpacked(data[:length], sizes)
    assert f"{length:,} bytes" in caught.value.message


def test_a_second_member_cut_off_is_truncated():
    with pytest.raises(GzipTruncated):
        unpacked(gzip.compress(b"a") + gzip.compress(b"b")[:-1])


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8bnot gzip at all",
        gzip.compress(b"some text")[:-8] + bytes(8),
        gzip.compress(b"some text") + b"and something else",
        zlib.compress(b"some text"),
    ],
    ids=["no gzip", "checksum", "something behind it", "zlib without gzip"],
)
def test_what_is_not_gzip_is_invalid(data):
    with pytest.raises(GzipInvalid):
        unpacked(data)


def test_the_unpacked_size_has_a_limit():
    data = gzip.compress(b"x" * 1000)
    assert len(unpacked(data, max_bytes=1000)) == 1000
    with pytest.raises(UnpackedTooLarge):
        unpacked(data, max_bytes=999)


def test_a_ratio_is_judged_only_where_it_can_hurt():
    assert len(unpacked(gzip.compress(bytes(RATIO_JUDGED_BYTES)), max_ratio=10)) == RATIO_JUDGED_BYTES
    with pytest.raises(GzipRatioTooHigh):
        unpacked(gzip.compress(bytes(RATIO_JUDGED_BYTES + 1)), max_ratio=10)


def test_a_bomb_never_inflates_in_memory():
    bomb = gzip.compress(bytes(200 << 20))
    gunzip = Gunzip(NO_LIMIT, NO_LIMIT)
    tracemalloc.start()
    try:
        assert sum(map(len, gunzip.feed(bomb))) == 200 << 20
        assert tracemalloc.get_traced_memory()[1] < 4 * PIECE_BYTES
    finally:
        tracemalloc.stop()


def test_many_tiny_members_are_not_copied_over_and_over(monkeypatch):
    fed = 0
    decompressobj = zlib.decompressobj

    class Member:
        def __init__(self, *arguments):
            self._member = decompressobj(*arguments)

        def decompress(self, chunk, limit):
            nonlocal fed
            fed += len(chunk)
            return self._member.decompress(chunk, limit)

        def __getattr__(self, name):
            return getattr(self._member, name)

    data = gzip.compress(b"") * 20_000
    monkeypatch.setattr(module.zlib, "decompressobj", Member)
    unpacked(data, [len(data)])
    assert fed < 1000 * len(data)
