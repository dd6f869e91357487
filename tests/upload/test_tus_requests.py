"""Resumable uploads by the protocol: each request and what it is answered."""

import hashlib
import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.upload.conftest import BOOKS, bearer
from tests.upload.resumable import Tus, books, digest, metadata, trickle


@pytest.fixture
def tus(upload):
    return Tus(upload.client, upload.secret)


def code_of(response):
    return response.status_code, response.json()["code"]


# Creation


async def test_what_the_server_can_do_needs_no_token(upload, tus):
    for path in ("/api/v1/tus", f"/api/v1/tus/{uuid4()}"):
        response = await upload.client.options(path)
        assert response.status_code == 204
        assert response.headers["tus-version"] == "1.0.0"
        assert set(response.headers["tus-extension"].split(",")) == {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "checksum",
            "termination",
            "concatenation",
        }
        assert response.headers["tus-max-size"] == str(5 * 1024**3)
        assert response.headers["tus-checksum-algorithm"] == "sha1,sha256,md5"


async def test_a_file_in_two_pieces_becomes_an_import(upload, tus):
    response = await tus.create(len(BOOKS), data_source_name="A partner", max_rejected="3")
    assert response.status_code == 201
    assert response.headers["tus-resumable"] == "1.0.0"
    path = response.headers["location"]
    assert re.fullmatch("/api/v1/tus/[0-9a-f-]{36}", path)
    assert parsedate_to_datetime(response.headers["upload-expires"])

    response = await tus.patch(path, 0, BOOKS[:20])
    assert (response.status_code, response.headers["upload-offset"]) == (204, "20")
    assert response.headers["upload-expires"]
    assert "penstock-import" not in response.headers

    response = await tus.patch(path, 20, BOOKS[20:])
    assert (response.status_code, response.headers["upload-offset"]) == (204, str(len(BOOKS)))
    upload_id = path.rpartition("/")[2]
    assert response.headers["penstock-import"] == f"/api/v1/imports/{upload_id}"

    (row,) = await upload.rows()
    assert (str(row["import_id"]), row["source"], row["rows_detected"]) == (upload_id, "A partner", 1)
    assert row["sha256"] == hashlib.sha256(BOOKS).hexdigest()
    assert upload.decoded(row["options"])["max_rejected"] == 3
    assert await upload.comes_to_hold({row["object_key"]: BOOKS})
    shown = await tus.show(path)
    assert shown["state"] == "accepted"
    assert shown["links"]["self"] == f"/api/v1/imports/{upload_id}"


async def test_an_import_says_the_same_whichever_way_its_file_came(upload, tus):
    content = books(500)
    sent = (await upload.form(content, force="true")).json()
    path = await tus.created(len(content), force="true")
    await tus.patch(path, 0, content)
    rows = {str(row.pop("import_id")): row for row in await upload.rows()}
    first, second = rows[sent["id"]], rows[path.rpartition("/")[2]]
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"object_key", "uploaded_at", "uploaded_by"}


async def test_a_creation_may_bring_the_first_bytes(tus):
    response = await tus.create(len(BOOKS), BOOKS[:7])
    assert (response.status_code, response.headers["upload-offset"]) == (201, "7")
    path = response.headers["location"]
    assert await tus.offset(path) == 7
    assert (await tus.patch(path, 7, BOOKS[7:])).headers["penstock-import"]


async def test_a_creation_may_bring_the_whole_file(upload, tus):
    response = await tus.create(len(BOOKS), BOOKS)
    assert response.status_code == 201
    assert response.headers["penstock-import"].endswith(response.headers["location"].rpartition("/")[2])
    assert len(await upload.rows()) == 1


async def test_what_is_refused_with_its_creation_leaves_nothing(upload, tus, database):
    response = await tus.create(len(BOOKS), BOOKS, Upload_Checksum=digest(hashlib.sha1, b"other"))
    assert code_of(response) == (460, "checksum_mismatch")
    response = await tus.create(3, trickle(BOOKS, 10))
    assert code_of(response) == (413, "upload_too_long")
    assert await upload.left_nothing()
    assert not await database.fetch("SELECT FROM upload.tus_uploads UNION ALL SELECT FROM upload.tus_parts")


@pytest.mark.parametrize(
    ("said", "headers", "expected"),
    [
        ({"dataset": "bokks"}, {}, (422, "dataset_unknown")),
        ({"dry_run": "perhaps"}, {}, (422, "field_invalid")),
        ({"colour": "red"}, {}, (422, "field_unknown")),
        ({"filename": "books.xlsx"}, {}, (415, "extension_unsupported")),
        ({}, {"Upload_Length": 5 * 1024**3 + 1}, (413, "file_too_large")),
        ({"dataset": "sales"}, {"Upload_Length": 10 * 1024**2 + 1}, (413, "file_too_large")),
        ({}, {"Upload_Length": "much"}, (400, "tus_header_invalid")),
        ({}, {"Upload_Length": None}, (400, "tus_header_invalid")),
        ({}, {"Upload_Defer_Length": 1}, (400, "tus_header_invalid")),
        ({}, {"Upload_Metadata": "dataset books"}, (400, "tus_header_invalid")),
        ({}, {"Upload_Concat": "whole"}, (400, "tus_header_invalid")),
        ({}, {"Tus_Resumable": "0.2.2"}, (412, "tus_version_unsupported")),
        ({}, {"Tus_Resumable": None}, (412, "tus_version_unsupported")),
    ],
)
async def test_what_is_wrong_is_said_at_the_creation(tus, database, said, headers, expected):
    response = await tus.create(None, **{"Upload_Length": 100} | headers | said)
    assert code_of(response) == expected
    assert response.headers["tus-resumable"] == "1.0.0"
    assert ("tus-version" in response.headers) == (expected[0] == 412)
    assert not await database.fetch("SELECT FROM upload.tus_uploads")
    assert not await database.fetch("SELECT FROM upload.rates WHERE cardinality(taken) > 0")


async def test_a_body_at_creation_is_of_the_protocols_type(tus):
    response = await tus.ask(
        "POST",
        "/api/v1/tus?dataset=books",
        BOOKS,
        Upload_Length=len(BOOKS),
        Content_Type="text/csv",
    )
    assert code_of(response) == (415, "media_type_unsupported")


async def test_the_dataset_may_be_said_in_the_query(upload, tus):
    path = await tus.created(len(BOOKS), query={"dataset": "books", "file_name": "b.csv"}, Upload_Metadata="")
    await tus.patch(path, 0, BOOKS)
    (row,) = await upload.rows()
    assert (row["dataset"], row["file_name"]) == ("books", "b.csv")


async def test_a_creation_counts_as_an_upload(upload, tus, database):
    await database.execute("INSERT INTO upload.tenant_limits (tenant, uploads_per_minute) VALUES ('acme', 2)")
    first = await tus.create(10)
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("2", "1")
    await tus.created(10)
    response = await tus.create(10)
    assert code_of(response) == (429, "rate_limited")
    assert int(response.headers["retry-after"]) > 0
    assert (await tus.create(10, Upload_Concat="partial")).status_code == 201


# HEAD and PATCH


async def test_head_tells_all_that_a_client_needs_to_go_on(tus):
    said = metadata(filename="bücher.csv", dataset="books")
    path = await tus.created(len(BOOKS), Upload_Metadata=said)
    await tus.patch(path, 0, BOOKS[:9])
    response = await tus.head(path)
    assert response.status_code == 200
    assert response.headers["upload-offset"] == "9"
    assert response.headers["upload-length"] == str(len(BOOKS))
    assert response.headers["upload-metadata"] == said
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["upload-expires"]
    assert "upload-defer-length" not in response.headers
    assert "upload-concat" not in response.headers


async def test_an_offset_that_is_not_the_uploads_changes_nothing(upload, tus):
    path = await tus.created(len(BOOKS))
    await tus.patch(path, 0, BOOKS[:9])
    before = upload.objects()
    for offset in (0, 8, 10, len(BOOKS)):
        response = await tus.patch(path, offset, BOOKS[9:])
        assert code_of(response) == (409, "upload_offset_conflict")
        assert response.json()["offset"] == 9
    assert await tus.offset(path) == 9
    assert upload.objects() == before


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content_Type": "text/csv"}, (415, "media_type_unsupported")),
        ({"Content_Type": None}, (415, "media_type_unsupported")),
        ({"Upload_Offset": None}, (400, "tus_header_invalid")),
        ({"Upload_Offset": "-1"}, (400, "tus_header_invalid")),
        ({"Upload_Length": 5}, (400, "tus_header_invalid")),
        ({"Upload_Checksum": "crc32 AAAAAA=="}, (400, "tus_header_invalid")),
        ({"Tus_Resumable": "2.0.0"}, (412, "tus_version_unsupported")),
    ],
)
async def test_a_wrong_patch_changes_nothing(upload, tus, headers, expected):
    path = await tus.created(len(BOOKS))
    headers = {"Upload_Offset": 0, "Content_Type": "application/offset+octet-stream"} | headers
    response = await tus.ask("PATCH", path, BOOKS, **headers)
    assert code_of(response) == expected
    assert await tus.offset(path) == 0
    assert upload.objects() == {}


async def test_the_media_type_is_read_as_http_reads_it(tus):
    path = await tus.created(len(BOOKS))
    response = await tus.patch(path, 0, BOOKS, Content_Type="Application/Offset+Octet-Stream; x=1")
    assert response.status_code == 204


@pytest.mark.parametrize("body", [BOOKS + b"x", trickle(BOOKS + b"x", len(BOOKS))], ids=["told", "untold"])
async def test_more_bytes_than_the_length_are_refused(upload, tus, body):
    path = await tus.created(len(BOOKS))
    response = await tus.patch(path, 0, body)
    assert code_of(response) == (413, "upload_too_long")
    assert await tus.offset(path) == 0, "the file would be complete, and something else than was meant"
    assert await upload.left_nothing()


async def test_an_empty_patch_is_fine(tus):
    path = await tus.created(len(BOOKS))
    response = await tus.patch(path, 0, b"")
    assert (response.status_code, response.headers["upload-offset"]) == (204, "0")


async def test_the_answer_to_the_last_patch_can_be_had_again(tus):
    path = await tus.created(len(BOOKS))
    first = await tus.patch(path, 0, BOOKS)
    again = await tus.patch(path, len(BOOKS), b"")
    assert again.status_code == 204
    assert again.headers["penstock-import"] == first.headers["penstock-import"]
    assert code_of(await tus.patch(path, len(BOOKS), b"x")) == (413, "upload_too_long")
    assert code_of(await tus.patch(path, 0, BOOKS)) == (409, "upload_offset_conflict")


async def test_each_patch_puts_the_end_off(tus, database):
    path = await tus.created(len(BOOKS))
    await database.execute("UPDATE upload.tus_uploads SET expires_at = now() + interval '1 minute'")
    soon = parsedate_to_datetime((await tus.head(path)).headers["upload-expires"])
    response = await tus.patch(path, 0, BOOKS[:5])
    assert (parsedate_to_datetime(response.headers["upload-expires"]) - soon).total_seconds() > 3600


async def test_a_path_that_is_no_upload(tus):
    unknown = f"/api/v1/tus/{uuid4()}"
    for response in (await tus.head(unknown), await tus.delete(unknown), await tus.patch(unknown, 0, b"x")):
        assert response.status_code == 404
        assert "upload-offset" not in response.headers
        assert response.headers["tus-resumable"] == "1.0.0"
    assert (await tus.head("/api/v1/tus/no-uuid")).status_code == 422


async def test_the_method_may_be_overridden(tus):
    path = await tus.created(len(BOOKS))
    response = await tus.ask(
        "POST",
        path,
        BOOKS[:5],
        X_HTTP_Method_Override="PATCH",
        Upload_Offset=0,
        Content_Type="application/offset+octet-stream",
    )
    assert (response.status_code, response.headers["upload-offset"]) == (204, "5")
    response = await tus.ask("GET", path, X_HTTP_Method_Override="HEAD")
    assert (response.status_code, response.headers["upload-offset"], response.content) == (200, "5", b"")
    assert (await tus.ask("POST", path, X_HTTP_Method_Override="DELETE")).status_code == 204
    assert (await tus.head(path)).status_code == 404
    assert (await tus.ask("POST", path)).status_code == 405
    assert (await tus.ask("POST", path, X_HTTP_Method_Override="BREW")).status_code == 405


# A length that comes later


async def test_a_length_may_come_with_a_later_patch(upload, tus):
    path = await tus.created(None, Upload_Defer_Length=1)
    await tus.patch(path, 0, BOOKS[:9])
    response = await tus.head(path)
    assert response.headers["upload-defer-length"] == "1"
    assert "upload-length" not in response.headers
    response = await tus.patch(path, 9, BOOKS[9:20], Upload_Length=len(BOOKS))
    assert response.status_code == 204
    response = await tus.head(path)
    assert response.headers["upload-length"] == str(len(BOOKS))
    assert "upload-defer-length" not in response.headers
    assert code_of(await tus.patch(path, 20, BOOKS[20:], Upload_Length=30)) == (400, "tus_header_invalid")
    response = await tus.patch(path, 20, BOOKS[20:], Upload_Length=len(BOOKS))
    assert response.headers["penstock-import"]


async def test_a_length_may_come_with_no_more_bytes(upload, tus):
    path = await tus.created(None, Upload_Defer_Length=1)
    assert "penstock-import" not in (await tus.patch(path, 0, BOOKS)).headers
    assert await upload.rows() == []
    response = await tus.patch(path, len(BOOKS), b"", Upload_Length=len(BOOKS))
    assert response.headers["penstock-import"]


async def test_a_length_that_comes_later_must_be_possible(upload, tus):
    path = await tus.created(None, Upload_Defer_Length=1, dataset="sales")
    await tus.patch(path, 0, b"x" * 100)
    assert code_of(await tus.patch(path, 100, b"", Upload_Length=99)) == (400, "tus_header_invalid")
    too_long = 10 * 1024**2 + 1
    assert code_of(await tus.patch(path, 100, b"", Upload_Length=too_long)) == (413, "file_too_large")
    body = b"x" * (too_long - 100)
    assert code_of(await tus.patch(path, 100, body)) == (413, "file_too_large")
    assert code_of(await tus.patch(path, 100, trickle(body, 1024**2))) == (413, "file_too_large")
    assert await tus.offset(path) < too_long


# Checksums


@pytest.mark.parametrize("algorithm", [hashlib.sha1, hashlib.sha256, hashlib.md5])
async def test_a_piece_with_the_right_checksum_counts(tus, algorithm):
    path = await tus.created(len(BOOKS))
    response = await tus.patch(path, 0, BOOKS, Upload_Checksum=digest(algorithm, BOOKS))
    assert response.status_code == 204
    assert response.headers["penstock-import"]


async def test_nothing_of_a_piece_with_another_checksum_counts(upload, tus, database):
    content = books(300_000)  # several parts
    path = await tus.created(len(content))
    body = trickle(content, 256 * 1024)
    response = await tus.patch(path, 0, body, Upload_Checksum=digest(hashlib.sha1, content[:-1] + b"x"))
    assert code_of(response) == (460, "checksum_mismatch")
    assert await tus.offset(path) == 0
    assert await upload.left_nothing()
    assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0
    response = await tus.patch(path, 0, content, Upload_Checksum=digest(hashlib.sha1, content))
    assert response.headers["penstock-import"]


async def test_nothing_of_a_piece_with_a_checksum_counts_when_it_breaks_off(upload, tus):
    path = await tus.created(len(BOOKS))
    body = trickle(BOOKS[:20], 5, RuntimeError("the line is cut"))
    with suppress(RuntimeError):
        await tus.patch(path, 0, body, Upload_Checksum=digest(hashlib.sha1, BOOKS))
    assert await tus.offset(path) == 0
    assert await upload.left_nothing()


# Termination


async def test_a_removed_upload_leaves_nothing(upload, tus, database):
    path = await tus.created(len(BOOKS))
    await tus.patch(path, 0, BOOKS[:9])
    response = await tus.delete(path)
    assert (response.status_code, response.headers["tus-resumable"]) == (204, "1.0.0")
    assert await upload.left_nothing()
    assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0
    assert (await tus.head(path)).status_code == 404
    assert (await tus.patch(path, 9, BOOKS[9:])).status_code == 404
    assert (await tus.delete(path)).status_code == 404


async def test_to_remove_an_upload_leaves_its_import(upload, tus):
    path = await tus.created(len(BOOKS))
    await tus.patch(path, 0, BOOKS)
    assert (await tus.delete(path)).status_code == 204
    (row,) = await upload.rows()
    assert await upload.comes_to_hold({row["object_key"]: BOOKS})


# Who may


async def test_another_tenants_upload_is_not_there(upload, tus):
    path = await tus.created(len(BOOKS))
    await tus.patch(path, 0, BOOKS[:9])
    other = Tus(upload.client, upload.secret, tenant="other")
    unknown = f"/api/v1/tus/{uuid4()}"
    for ask in (
        other.head,
        other.delete,
        lambda p: other.patch(p, 9, BOOKS[9:]),
        lambda p: other.ask("GET", p),
    ):
        theirs, nobodys = await ask(path), await ask(unknown)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.text.replace(path[-36:], "") == nobodys.text.replace(unknown[-36:], "")
    assert await tus.offset(path) == 9


async def test_who_may_not_write_imports_may_not_upload(upload, tus):
    path = await tus.created(len(BOOKS))
    reader = Tus(upload.client, upload.secret, scope="imports:read")
    for response in (
        await reader.create(1),
        await reader.head(path),
        await reader.patch(path, 0, b"x"),
        await reader.delete(path),
        await reader.ask("GET", path),
    ):
        assert response.status_code == 403
        assert response.headers["tus-resumable"] == "1.0.0"
    nobody = Tus(upload.client, upload.secret)
    nobody.headers.pop("Authorization")
    assert (await nobody.create(1)).status_code == 401
    assert (await nobody.head(path)).status_code == 401


# Whatever comes

_NAMES = ["Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat", "Upload-Checksum"]
_NAMES += ["Upload-Offset", "Tus-Resumable", "Content-Type", "X-HTTP-Method-Override", "Content-Length"]
_LIKELY = [
    "0",
    "1",
    "10",
    "-1",
    "1.0.0",
    "partial",
    "final;",
    "final;x",
    "application/offset+octet-stream",
    "PATCH",
]
_LIKELY += [
    "HEAD",
    "dataset Ym9va3M=",
    "dataset Ym9va3M=,filename YS5jc3Y=",
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
]
_VALUES = st.sampled_from(_LIKELY) | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)


@settings(max_examples=150)
@given(
    method=st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "GET", "OPTIONS", "PUT"]),
    below=st.booleans(),
    headers=st.dictionaries(st.sampled_from(_NAMES), _VALUES),
    body=st.none() | st.binary(max_size=20),
)
async def test_whatever_comes_is_answered_in_order(upload, method, below, headers, body):
    if not hasattr(upload, "path"):
        upload.path = await Tus(upload.client, upload.secret).created(None, Upload_Defer_Length=1)
    path = upload.path if below else "/api/v1/tus"
    everything = bearer(upload.secret, "imports:write") | headers
    sent = [(name.encode(), value.encode("latin-1")) for name, value in everything.items()]
    response = await upload.client.request(method, path, content=body, headers=sent)
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and method != "HEAD" and response.content:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
