"""What tus 1.0 says in headers."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.tus import protocol
from services.upload.tus.creation import wanted_in
from services.upload.tus.protocol import Concat, HeaderInvalid
from services.upload.tus.resources import refusal
from shared.contracts.problems import Problem, Unprocessable, UnsupportedMedia
from tests.upload.resumable import digest, metadata

ID = "24e533e0-2ec3-4c40-8387-f1a0e460e216"
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
PARSERS = [
    protocol.offset_of,
    protocol.length_of,
    protocol.length_of_new,
    protocol.metadata_of,
    protocol.concat_of,
    protocol.checksum_of,
    protocol.body_length_of,
]
NAMES = [
    "upload-offset",
    "upload-length",
    "upload-defer-length",
    "upload-metadata",
    "upload-concat",
    "upload-checksum",
    "content-length",
    "x-http-method-override",
]


@given(st.dictionaries(KEYS, TEXTS))
def test_metadata_comes_out_as_it_went_in(pairs):
    assert protocol.metadata_of({"upload-metadata": metadata(**pairs)}) == pairs


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        ("", {}),
        ("is_confidential", {"is_confidential": ""}),
        ("filename d29ybGQuY3N2,is_confidential", {"filename": "world.csv", "is_confidential": ""}),
        ("filename d29ybGQuY3N2 , dataset Ym9va3M=", {"filename": "world.csv", "dataset": "books"}),
        ("name w6Q=", {"name": "ä"}),
    ],
    ids=["none", "no value", "the example of the protocol", "blanks around", "UTF-8"],
)
def test_metadata(header, pairs):
    assert protocol.metadata_of({"upload-metadata": header}) == pairs


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("filename d29ybGQ=,filename d29ybGQ=", "twice"),
        ("filename world.csv", "not Base64"),
        ("filename d29ybGQ", "not Base64"),
        ("filename /w==", "not UTF-8"),
        ("filename AA==", "NUL"),
        ("a YQ==,,b YQ==", "empty"),
        ("näme YQ==", "not ASCII"),
    ],
)
def test_metadata_that_is_refused(header, fault):
    with pytest.raises(HeaderInvalid, match=fault) as raised:
        protocol.metadata_of({"upload-metadata": header})
    assert raised.value.document()["header"] == "Upload-Metadata"


@pytest.mark.parametrize("value", ["-1", "+1", "1.0", "", " ", "1e3", "0x10", "١", "9" * 19, "1 2", "1_000"])
def test_what_is_no_number_of_bytes_is_refused(value):
    with pytest.raises(HeaderInvalid, match="no number of bytes"):
        protocol.offset_of({"upload-offset": value})
    with pytest.raises(HeaderInvalid, match="no number of bytes"):
        protocol.length_of({"upload-length": value})


def test_an_offset_must_be_said():
    with pytest.raises(HeaderInvalid, match="missing"):
        protocol.offset_of({})
    assert protocol.offset_of({"upload-offset": "0"}) == 0


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"upload-length": "0"}, 0),
        ({"upload-length": "100"}, 100),
        ({"upload-defer-length": "1"}, None),
    ],
)
def test_a_length_is_said_or_deferred(headers, length):
    assert protocol.length_of_new(headers) == length


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload-length": "100", "upload-defer-length": "1"},
        {"upload-defer-length": "2"},
        {"upload-defer-length": "true"},
        {"upload-length": "100", "upload-defer-length": "0"},
    ],
)
def test_a_length_is_one_or_the_other(headers):
    with pytest.raises(HeaderInvalid):
        protocol.length_of_new(headers)


@pytest.mark.parametrize(
    "url",
    [
        f"/api/v1/tus/{ID}",
        f"https://penstock.example/api/v1/tus/{ID}",
        f"http://localhost:8000/api/v1/tus/{ID}/",
        f"https://gateway.example/files/in/api/v1/tus/{ID}",
        f"tus/{ID}",
        ID,
        ID.upper(),
    ],
)
def test_a_final_names_its_parts_by_url(url):
    other = uuid4()
    found = protocol.concat_of({"upload-concat": f"final;{url} /api/v1/tus/{other}"})
    assert found == Concat("final", (UUID(ID), other))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "whole",
        "Partial",
        "partial;",
        "final",
        "final;",
        "final; ",
        "final;/api/v1/tus/",
        f"final;/api/v1/uploads/{ID}",
        f"final;/api/v1/tus/{ID}?x=1",
        "final;/api/v1/tus/" + "x" * 36,
        "final;/api/v1/tus/" + "-" * 36,
        f"final;ftp://penstock.example/api/v1/tus/{ID}",
        "final;" + f" /api/v1/tus/{ID}" * (protocol.MAX_PARTIALS + 1),
    ],
)
def test_a_concatenation_that_is_refused(value):
    with pytest.raises(HeaderInvalid):
        protocol.concat_of({"upload-concat": value})


@given(st.binary(max_size=100), st.lists(st.integers(0, 100)), st.sampled_from(sorted(protocol.ALGORITHMS)))
def test_a_checksum_matches_the_body_however_it_is_cut(body, cuts, algorithm):
    value = digest(getattr(hashlib, algorithm), body)
    places = [0, *sorted(cut for cut in cuts if cut <= len(body)), len(body)]
    good, bad = (protocol.checksum_of({"upload-checksum": value}) for _ in range(2))
    for start, end in pairwise(places):
        good.feed(body[start:end])
    assert good.matches()
    bad.feed(body + b"x")
    assert not bad.matches()


def test_the_checksum_of_the_example_in_the_protocol():
    checksum = protocol.checksum_of({"upload-checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="})
    checksum.feed(b"hello world")
    assert checksum.matches()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha1",
        "sha1 ",
        "crc32 AAAAAA==",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV",
        "sha1 %%%",
    ],
)
def test_a_checksum_that_is_refused(value):
    with pytest.raises(HeaderInvalid):
        protocol.checksum_of({"upload-checksum": value})


@pytest.mark.parametrize(
    ("method", "headers", "effective"),
    [
        ("POST", {"x-http-method-override": "PATCH"}, "PATCH"),
        ("POST", {"x-http-method-override": " delete "}, "DELETE"),
        ("PATCH", {}, "PATCH"),
    ],
)
def test_the_method_may_be_overridden(method, headers, effective):
    assert protocol.effective_method(method, headers) == effective


def test_a_moment_is_said_as_http_says_it():
    moment = datetime(2014, 6, 25, 18, 0, tzinfo=timezone(timedelta(hours=2)))
    assert protocol.http_date(moment) == "Wed, 25 Jun 2014 16:00:00 GMT"
    assert moment.astimezone(UTC).hour == 16


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60)), st.sampled_from(PARSERS))
def test_whatever_headers_say_is_understood_or_a_problem_of_theirs(headers, parse):
    with suppress(HeaderInvalid):
        parse(headers)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60)),
    st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=3),
)
def test_whatever_a_creation_says_is_understood_or_a_problem_of_its(headers, query):
    with suppress(HeaderInvalid, Unprocessable, UnsupportedMedia):
        wanted_in(headers, query)


LENGTH = {"upload-length": "10"}


def test_fields_come_in_metadata_or_in_the_query():
    said = metadata(filename="a.csv", filetype="text/csv", relativePath="null", dry_run="true")
    wanted = wanted_in({**LENGTH, "upload-metadata": said}, [("dataset", "books")])
    assert wanted.file_name == "a.csv"
    assert wanted.fields == {"dataset": "books", "dry_run": "true"}
    assert wanted.metadata == said


def test_browsers_say_the_name_in_two_ways():
    said = metadata(name="a.csv", filename="a.csv", type="text/csv", filetype="text/csv", dataset="books")
    assert wanted_in({**LENGTH, "upload-metadata": said}, []).file_name == "a.csv"


@pytest.mark.parametrize(
    ("said", "query", "code"),
    [
        ({"dataset": "books", "datset": "books"}, [], "field_unknown"),
        ({"dataset": "books", "dry_run": "perhaps"}, [], "field_invalid"),
        ({"dataset": "books"}, [("dataset", "books")], "field_repeated"),
        ({}, [("dataset", "books"), ("dataset", "sales")], "field_repeated"),
        ({}, [], "dataset_missing"),
        ({"dataset": "bokks"}, [], "dataset_unknown"),
    ],
)
def test_fields_are_checked_before_a_byte_is_sent(said, query, code):
    with pytest.raises(Unprocessable) as raised:
        wanted_in({**LENGTH, "upload-metadata": metadata(**said)}, query)
    assert raised.value.code == code


def test_a_name_tells_what_is_no_csv():
    said = metadata(filename="a.xlsx", dataset="books")
    with pytest.raises(Problem) as raised:
        wanted_in({**LENGTH, "upload-metadata": said}, [])
    assert (raised.value.status, raised.value.code) == (415, "extension_unsupported")


def test_a_partial_says_nothing_of_the_file():
    wanted = wanted_in({**LENGTH, "upload-concat": "partial"}, [("dataset", "books")])
    assert (wanted.file_name, wanted.fields) == ("", {})


def test_a_final_is_as_long_as_its_parts():
    headers = {"upload-concat": f"final;/api/v1/tus/{ID}", "upload-metadata": metadata(dataset="books")}
    assert wanted_in(headers, []).length is None
    with pytest.raises(HeaderInvalid):
        wanted_in({**headers, **LENGTH}, [])


@pytest.mark.parametrize(("status", "said"), [(409, 422), (423, 422), (415, 415), (413, 413), (422, 422)])
def test_no_refusal_makes_a_client_go_on(status, said):
    """Both of tus-js-client's retried statuses, 409 and 423, would make it send the whole file again."""
    problem = {"status": status, "code": "file_already_imported"}
    assert refusal(problem) == {"status": said, "code": "file_already_imported"}
