"""What an upload may ask beside its dataset: by query or form, before or behind the file; and compressed files."""

import gzip
import hashlib
from itertools import pairwise

import pytest

from tests.upload.conftest import BOOKS, bearer, running
from tests.upload.test_api import assert_problem

OPTIONS = {
    "dry_run": "yes",
    "atomic": "1",
    "max_rejected": "10",
    "max_rejected_share": "0.05",
    "date_order": "day-first",
}
# Without being told nobody would read it so.
ODD = "Report!of!March\ntitle!author!isbn!publication_year\nMomo!'Ende! Größe'!3522177509!1973\n".encode(
    "cp1252"
)
TOLD = {"delimiter": "!", "quote": "single", "encoding": "windows-1252", "skip_rows": "1", "header_rows": "1"}
MIB = 1024**2


def form_of(*parts):
    """A multipart body: names with values, in this order; the file's value is bytes."""
    pieces = []
    for name, value in parts:
        file = '; filename="b.csv"' if isinstance(value, bytes) else ""
        content = value if isinstance(value, bytes) else value.encode()
        pieces.append(
            b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (name.encode(), file.encode())
        )
        pieces.append(content + b"\r\n")
    return b"".join(pieces) + b"--x--\r\n"


async def post(upload, body, *, cut=None, media_type="multipart/form-data; boundary=x", headers=(), **query):
    """Send a body as it is, or in pieces of `cut` bytes."""

    async def pieces():
        for start, stop in pairwise([*range(0, len(body), cut or len(body)), len(body)]):
            yield body[start:stop]

    headers = {**bearer(upload.secret, "imports:write"), "Content-Type": media_type, **dict(headers)}
    return await upload.client.post("/api/v1/uploads", params=query, content=pieces(), headers=headers)


@pytest.mark.parametrize("way", ["form", "raw", "form behind the file", "query of a form"])
async def test_options_reach_row_event_and_answer(upload, way):
    if way == "form":
        response = await upload.form(**OPTIONS)
    elif way == "raw":
        response = await upload.raw(**OPTIONS)
    elif way == "query of a form":
        response = await post(upload, form_of(("file", BOOKS)), dataset="books", **OPTIONS)
    else:
        response = await post(upload, form_of(("file", BOOKS), ("dataset", "books"), *OPTIONS.items()))
    assert response.status_code == 202, response.text
    assert response.json()["dry_run"] is True
    [row], [event] = await upload.rows(), await upload.events()
    options = event.data.options.model_dump()
    assert options == {
        "dry_run": True,
        "atomic": True,
        "max_rejected": 10,
        "max_rejected_share": 0.05,
        "date_order": "day-first",
    }
    assert upload.decoded(row["options"]) == options


async def test_without_options_an_import_is_plain(upload):
    response = await upload.form()
    assert response.json()["dry_run"] is False
    [event] = await upload.events()
    assert event.data.options.all_at_once is False
    assert event.data.header == ("title", "author", "isbn", "publication_year")
    assert event.data.lines_detected == 2
    assert event.data.explanation is not None
    [row] = await upload.rows()
    assert upload.decoded(row["header"]) == list(event.data.header)
    assert upload.decoded(row["explanation"]) == event.data.explanation.model_dump(mode="json")
    assert row["lines_detected"] == 2


@pytest.mark.parametrize("cut", [None, 50], ids=["in one piece", "in pieces"])
@pytest.mark.parametrize("order", ["before", "behind", "dataset before, the rest behind", "query"])
async def test_a_dialect_that_is_given_is_used(upload, order, cut):
    told = [("dataset", "books"), *TOLD.items()]
    # Readable without the rest, when that comes behind the file of a form that has named its dataset.
    content = BOOKS.replace(b",", b";") if order.startswith("dataset") else ODD
    told = [("dataset", "books"), ("quote", "none")] if order.startswith("dataset") else told
    parts = {
        "before": [*told, ("file", content)],
        "behind": [("file", content), *told],
        "dataset before, the rest behind": [told[0], ("file", content), *told[1:]],
        "query": [("file", content)],
    }[order]
    response = await post(upload, form_of(*parts), cut=cut, **(dict(told) if order == "query" else {}))
    assert response.status_code == 202, response.text
    assert response.json()["rows_detected"] == 1
    [event] = await upload.events()
    dialect = event.data.dialect
    if order.startswith("dataset"):
        assert (dialect.delimiter, dialect.quote) == (";", "")
        assert event.data.explanation.given == ("quote",)
    else:
        assert (dialect.delimiter, dialect.quote, dialect.encoding) == ("!", "'", "cp1252")
        assert (dialect.start_line, dialect.header_rows) == (1, 1)
        assert set(event.data.explanation.given) == set(TOLD)
    assert event.data.columns == {"title": 0, "author": 1, "isbn": 2, "publication_year": 3}
    assert (event.data.file_size, event.data.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert list(upload.objects().values()) == [content]


async def test_a_file_without_a_header_whose_columns_can_be_told(upload):
    content = BOOKS[BOOKS.index(b"\n") + 1 :] * 3
    response = await upload.form(content, header_rows="0")
    assert (response.status_code, response.json()["rows_detected"]) == (202, 3), response.text
    [event] = await upload.events()
    assert (event.data.header, event.data.column_count, event.data.dialect.header_rows) == ((), 4, 0)
    assert event.data.columns == {"title": 0, "author": 1, "isbn": 2, "publication_year": 3}


async def test_what_is_wrong_with_a_file_is_said_also_where_the_fields_come_behind_it(upload):
    response = await post(
        upload, form_of(("file", b"no,header,of,ours\n" * 50), ("dataset", "books")), cut=100
    )
    assert response.status_code == 422
    assert response.json()["code"].startswith("header_")
    assert await upload.left_nothing()


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("dry_run", "maybe", "field_invalid"),
        ("dryrun", "1", "field_unknown"),
        ("quote", "''", "field_invalid"),
    ],
)
async def test_a_wrong_field_is_refused_wherever_it_stands(upload, place, name, value, code):
    parts = [("dataset", "books"), (name, value), ("file", BOOKS)]
    body = form_of(*(parts if place == "before" else reversed(parts)))
    for cut in (None, 40):
        response = await post(upload, body, cut=cut)
        assert_problem(response, 422, code)
        assert response.json()["hint"]
        assert await upload.left_nothing()


async def test_a_field_that_comes_twice_is_refused(upload):
    for query, parts in (
        ({"dataset": "books"}, [("dataset", "books"), ("file", BOOKS)]),
        ({"dataset": ["books", "books"]}, [("file", BOOKS)]),
    ):
        assert_problem(await post(upload, form_of(*parts), **query), 422, "field_repeated")
    assert await upload.left_nothing()


PACKED = gzip.compress(BOOKS)


@pytest.mark.parametrize(
    ("media_type", "headers"),
    [
        ("application/gzip", {}),
        ("application/x-gzip", {}),
        ("text/csv", {}),
        ("text/csv", {"Content-Encoding": "gzip"}),
        ("text/csv", {"Content-Encoding": "X-GZIP"}),
        (None, {}),
    ],
)
async def test_a_compressed_file_is_stored_unpacked(upload, media_type, headers):
    if media_type is None:
        response = await upload.form(PACKED, name="books.csv.gz")
    else:
        sent = bearer(upload.secret, "imports:write") | headers
        response = await upload.raw(PACKED, media_type=media_type, headers=sent, file_name="books.csv.gz")
    assert response.status_code == 202, response.text
    body = response.json()
    assert (body["file_name"], body["file_size"], body["rows_detected"]) == ("books.csv.gz", len(BOOKS), 1)
    assert body["sha256"] == hashlib.sha256(BOOKS).hexdigest()
    assert list(upload.objects().values()) == [BOOKS]


async def test_a_large_compressed_file_of_several_members_in_small_pieces(upload):
    lines = b"".join(b"Momo %d,Michael Ende,9783522177504,1973\n" % number for number in range(60_000))
    content = BOOKS[: BOOKS.index(b"\n") + 1] + lines
    packed = gzip.compress(content[:1_000_000]) + gzip.compress(content[1_000_000:])
    response = await post(upload, packed, cut=10_000, media_type="application/gzip", dataset="books")
    assert response.status_code == 202, response.text
    assert response.json()["rows_detected"] == 60_000
    assert list(upload.objects().values()) == [content]


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (PACKED[:-9], 422, "gzip_truncated"),
        (PACKED[:20] + b"\xff\x00\xff" * 5 + PACKED[35:], 422, "gzip_invalid"),
        (gzip.compress(BOOKS + b"\n" * (64 * MIB)), 413, "gzip_ratio_too_high"),
        (gzip.compress(PACKED), 415, "file_not_text"),
        (gzip.compress(b""), 422, "file_empty"),
        (gzip.compress(b"%PDF-1.7 ..."), 415, "file_not_text"),
    ],
    ids=["truncated", "corrupt", "bomb", "twice", "empty", "a PDF"],
)
async def test_a_compressed_file_that_is_no_good_is_refused(upload, form, content, status, code):
    response = await (upload.form if form else upload.raw)(content)
    assert_problem(response, status, code)
    assert response.json()["hint"]
    assert await upload.left_nothing()


@pytest.mark.parametrize("surplus", [0, 1])
async def test_the_limit_holds_for_the_unpacked_file(environment, database, monkeypatch, surplus):
    content = BOOKS + b"Momo,Michael Ende,9783522177504,1973\n" * 1000
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES", str(len(content) - surplus))
    async with running(environment, database) as upload:
        response = await upload.raw(gzip.compress(content))
        if not surplus:
            assert response.status_code == 202, response.text
            return
        assert response.status_code == 413
        assert await upload.left_nothing()


async def test_the_limit_holds_for_bytes_that_unpack_to_nothing(environment, database, monkeypatch):
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES", "10000")
    async with running(environment, database) as upload:
        assert_problem(await upload.raw(gzip.compress(b"") * 1000), 413, "file_too_large")
        assert await upload.left_nothing()


@pytest.mark.parametrize(
    ("media_type", "encoding"),
    [("text/csv", "br"), ("text/csv", "gzip, gzip"), ("multipart/form-data; boundary=x", "gzip")],
)
async def test_another_content_encoding_is_refused(upload, media_type, encoding):
    body = form_of(("dataset", "books"), ("file", BOOKS)) if "form" in media_type else BOOKS
    response = await post(upload, body, media_type=media_type, headers={"Content-Encoding": encoding})
    assert_problem(response, 415, "content_encoding_unsupported")
    assert await upload.left_nothing()


async def test_the_api_tells_every_field(upload):
    operation = (await upload.client.get("/openapi.json")).json()["paths"]["/api/v1/uploads"]["post"]
    properties = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"file", "dataset", *OPTIONS, *TOLD} <= set(properties)
    assert {"file_name", "dataset", *OPTIONS, *TOLD} <= {each["name"] for each in operation["parameters"]}
    assert "application/gzip" in operation["requestBody"]["content"]
    assert all(schema.get("description") for name, schema in properties.items() if name != "file")
