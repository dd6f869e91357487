"""`POST /api/v1/uploads`: what is right becomes an import, what is wrong leaves nothing."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.platform.auth import create_api_key
from shared.platform.database import async_url
from shared.platform.logs import trace_id_of
from tests.upload.conftest import BOOKS, bearer, running

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MANY = b"title,author,isbn,publication_year\n" + b'"Momo\nund mehr",Ende,3522177509,1973\n' * 1000
# Words that would be ours: a traceback, SQL, a path, the signing secret.
INTERNALS = (
    "Traceback",
    'File "',
    "sqlalchemy",
    "asyncpg",
    "INSERT",
    "/services/",
    "test-secret",
    "site-packages",
)


def assert_problem(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:penstock:problem:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert not [word for word in INTERNALS if word in response.text]


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
async def test_a_good_file_becomes_an_import(upload, form):
    send = upload.form if form else upload.raw
    options = {"name": "My Books.csv"} if form else {"file_name": "My Books.csv"}
    response = await send(MANY, data_source_name="Acme", **options)
    assert response.status_code == 202, response.text
    body = response.json()
    import_id = UUID(body["id"])
    link = f"/api/v1/imports/{import_id}"
    assert response.headers["location"] == link
    assert body == {
        "id": str(import_id),
        "status": "pending",
        "dataset": "books",
        "file_name": "My Books.csv",
        "file_size": len(MANY),
        "sha256": hashlib.sha256(MANY).hexdigest(),
        "dry_run": False,
        "rows_detected": 1000,
        "estimated_processing_time": 0.5,
        "links": {
            "self": link,
            "events": f"{link}/events",
            "errors": f"{link}/errors",
            "errors_csv": f"{link}/errors.csv",
            "errors_summary": f"{link}/errors/summary",
            "file": f"{link}/file",
            "receipt": f"{link}/receipt",
            "cancel": f"/api/v1/uploads/{import_id}/cancel",
            "retry": f"/api/v1/uploads/{import_id}/retry",
        },
    }
    assert upload.objects() == {f"uploads/{import_id}": MANY}


async def test_the_row_and_the_event_say_the_same(upload):
    headers = bearer(upload.secret, "imports:write", tenant="globex") | {"traceparent": TRACEPARENT}
    response = await upload.form(BOOKS, data_source_name="Acme", headers=headers)
    [row], [event] = await upload.rows(), await upload.events()
    assert (event.type, event.tenant, event.subject) == ("import.uploaded", "globex", response.json()["id"])
    assert trace_id_of(event.traceparent) == trace_id_of(TRACEPARENT)
    assert (row["tenant"], row["source"], row["file_name"]) == ("globex", "Acme", "books.csv")
    for name in (
        "import_id",
        "dataset",
        "source",
        "file_name",
        "file_size",
        "sha256",
        "object_key",
        "rows_detected",
        "uploaded_at",
    ):
        assert row[name] == getattr(event.data, name)
    assert event.data.columns == {"title": 0, "author": 1, "isbn": 2, "publication_year": 3}
    assert row["uploaded_by"].startswith("token:")


@pytest.mark.parametrize(
    "media_type", ["text/csv", "text/csv; charset=utf-8", "TEXT/CSV", "text/plain", "application/csv"]
)
async def test_a_bare_file_may_be_sent_as(upload, media_type):
    assert (await upload.raw(media_type=media_type)).status_code == 202


async def test_columns_are_found_by_their_aliases_in_any_order(upload):
    response = await upload.form(b"Year;Book Title;extra;AUTHORS;Isbn\n1973;Momo;;Ende;3522177509\n")
    assert response.status_code == 202
    [event] = await upload.events()
    assert event.data.columns == {"title": 1, "author": 3, "isbn": 4, "publication_year": 0}
    assert (event.data.column_count, event.data.dialect.delimiter) == (5, ";")


async def test_a_header_without_records_is_an_import_of_none(upload):
    response = await upload.form(b"title,author,isbn,publication_year")
    assert (response.status_code, response.json()["rows_detected"]) == (202, 0)


XLSX = b"PK\x03\x04" + bytes(100)
LACKING = b"title,author\nMomo,Ende\n"


@pytest.mark.parametrize("way", ["form", "raw"])
@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (XLSX, (415, "file_not_text", "CSV")),
        (b"%PDF-1.7 ...", (415, "file_not_text", "CSV")),
        (b"a,b\0c\n" * 10, (415, "file_not_text", "CSV")),
        ("title,author".encode("utf-32"), (422, "encoding_unsupported", "UTF-8")),
        (b"", (422, "file_empty", "export")),
        (b" \n\n", (422, "file_empty", "export")),
        (b"\xef\xbb\xbf", (422, "file_empty", "export")),
        (b"Momo,Michael Ende,Thienemann,978-3-522-17750-4,1973\n", (422, "header_missing", "title, author, isbn")),
        (b"x" * 200_000, (422, "header_missing", "column names")),
        (LACKING, (422, "header_column_missing", "publication_year or year")),
        (LACKING + b"x,y\n" * 100_000, (422, "header_column_missing", "publication_year or year")),
        (b"title,author,isbn,year,Year\n", (422, "header_column_duplicate", "rename")),
        (b'"title,author,isbn,year\n' + BOOKS, (422, "header_unreadable", "column names")),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)  # fmt: skip
async def test_a_file_that_is_no_good_is_refused(upload, way, content, refusal):
    status, code, hint = refusal
    response = await getattr(upload, way)(content)
    assert_problem(response, status, code)
    assert hint in response.json()["hint"]
    assert await upload.left_nothing()


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
@pytest.mark.parametrize(
    ("fields", "code", "hint"),
    [
        ({"dataset": "boks"}, "dataset_unknown", "books, parts, products, quotes, sales, stock-codes"),
        ({"dataset": "../books"}, "dataset_unknown", "books, parts, products, quotes, sales, stock-codes"),
        ({"dataset": ""}, "dataset_missing", "books, parts, products, quotes, sales, stock-codes"),
        ({"colour": "red"}, "field_unknown", "data_source_name"),
    ],
)
async def test_a_field_that_is_no_good_is_refused(upload, form, fields, code, hint):
    response = await (upload.form if form else upload.raw)(BOOKS, **fields)
    assert_problem(response, 422, code)
    assert hint in response.json()["hint"]
    assert await upload.left_nothing()


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
@pytest.mark.parametrize("surplus", [0, 1, 500_000])
async def test_a_file_larger_than_the_limit_is_refused(environment, database, monkeypatch, form, surplus):
    monkeypatch.setenv("PENSTOCK_UPLOAD_MAX_BYTES", str(len(MANY)))
    async with running(environment, database) as upload:
        response = await (upload.form if form else upload.raw)(MANY + b"\n" * surplus)
        if not surplus:
            assert response.status_code == 202
            return
        assert_problem(response, 413, "file_too_large")
        assert "split" in response.json()["hint"]
        assert response.json()["limit_bytes"] == len(MANY)
        assert await upload.left_nothing()


@pytest.mark.parametrize(
    "media_type", ["application/json", "image/png", "multipart/mixed; boundary=x", "", ";"]
)
async def test_another_kind_of_body_is_refused(upload, media_type):
    response = await upload.raw(media_type=media_type)
    assert_problem(response, 415, "media_type_unsupported")
    assert "multipart/form-data" in response.json()["hint"]
    assert await upload.left_nothing()


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/form-data", BOOKS, "form_malformed"),
        ("multipart/form-data; boundary=x", BOOKS, "form_malformed"),
        ("multipart/form-data; boundary=x", b"", "file_missing"),
        (f"multipart/form-data; boundary={'x' * 300}", BOOKS, "form_malformed"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + BOOKS + b"\r\n--x",
            "form_malformed",
        ),
    ],
)
async def test_a_form_that_is_no_good_is_refused(upload, content_type, body, code):
    assert_problem(await upload.raw(body, media_type=content_type), 422, code)
    assert await upload.left_nothing()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token_missing"),
        ({"Authorization": "Basic dTpw"}, 401, "token_missing"),
        ({"Authorization": "Bearer nonsense"}, 401, "token_invalid"),
        (bearer("another-secret-another-secret-another", "imports:write"), 401, "token_invalid"),
        ({"Authorization": "Bearer psk_0123456789ab_unknown"}, 401, "token_invalid"),
    ],
    ids=["none", "basic", "nonsense", "forged", "unknown key"],
)
async def test_a_caller_nobody_knows_is_refused(upload, headers, status, code):
    response = await upload.form(headers=headers)
    assert_problem(response, status, code)
    assert "penstock token create" in response.json()["hint"]
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert await upload.left_nothing()


async def test_an_expired_token_is_refused(upload):
    response = await upload.form(headers=bearer(upload.secret, "imports:write", minutes=-1))
    assert_problem(response, 401, "token_expired")
    assert await upload.left_nothing()


async def test_a_token_that_may_not_upload_is_refused(upload):
    response = await upload.form(headers=bearer(upload.secret, "imports:read", "records:write"))
    assert_problem(response, 403, "scope_missing")
    assert response.json()["required_scope"] == "imports:write"
    assert await upload.left_nothing()


async def test_an_admin_may_upload(upload):
    assert (await upload.form(headers=bearer(upload.secret, "admin"))).status_code == 202


async def test_the_estimate_comes_from_how_fast_files_went_lately(upload, database):
    """But for those that were tried again: how long they took is how long somebody let them lie."""
    await database.executemany(
        "INSERT INTO processor.receipts (import_id, tenant, dataset, dataset_version, file_name, file_size, sha256, dialect,"
        " rows_read, rows_inserted, run, started_at, completed_at)"
        " VALUES (gen_random_uuid(), 'other', 'books', 1, 'f', 1, 'x', '{}', $1, $1, $2, now() - $3::interval, now())",
        [
            (2_000, 1, timedelta(seconds=1)),
            (4_000, 1, timedelta(seconds=5)),
            (2_000, 2, timedelta(days=1)),
            (999, 1, timedelta(days=1)),  # too small to tell
        ],
    )
    accepted = (await upload.form(BOOKS + BOOKS.splitlines(keepends=True)[1] * 1_999)).json()
    assert accepted["rows_detected"] == 2_000
    assert accepted["estimated_processing_time"] == 0.5 + 2_000 / 1_000


@pytest.fixture
async def new_key(database_url):
    engine = create_async_engine(async_url(database_url))

    async def make(*scopes, lifetime=None, revoked=False):
        async with engine.begin() as connection:
            expires_at = datetime.now(UTC) + lifetime if lifetime else None
            key = await create_api_key(connection, tenant="keyed", scopes=scopes, expires_at=expires_at)
            if revoked:
                await connection.execute(text("UPDATE auth.api_keys SET revoked_at = now()"))
        return {"Authorization": f"Bearer {key}"}

    yield make
    await engine.dispose()


async def test_an_api_key_uploads_for_its_tenant(upload, new_key):
    headers = await new_key("imports:write", lifetime=timedelta(minutes=1))
    response = await upload.form(headers=headers)
    assert response.status_code == 202
    [row] = await upload.rows()
    prefix = headers["Authorization"].removeprefix("Bearer psk_").partition("_")[0]
    assert (row["tenant"], row["uploaded_by"]) == ("keyed", f"key:{prefix}")


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"revoked": True}, 401, "token_invalid"),
        ({"lifetime": timedelta(seconds=-1)}, 401, "token_expired"),
        ({"scopes": ["imports:read"]}, 403, "scope_missing"),
    ],
)
async def test_an_api_key_that_is_no_good_is_refused(upload, new_key, options, status, code):
    scopes = options.pop("scopes", ["imports:write"])
    headers = await new_key(*scopes, **options)
    response = await upload.form(headers=headers)
    assert_problem(response, status, code)
    assert headers["Authorization"].removeprefix("Bearer ") not in response.text
    assert await upload.left_nothing()


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
async def test_a_body_in_many_chunks_is_stored_byte_for_byte(upload, form):
    async def pieces(body):
        for start in range(0, len(body), 777):
            yield body[start : start + 777]

    if form:
        head = b'--x\r\nContent-Disposition: form-data; name="dataset"\r\n\r\nbooks\r\n--x\r\n'
        head += b'Content-Disposition: form-data; name="file"; filename="b.csv"\r\n\r\n'
        sent = pieces(head + MANY + b"\r\n--x--\r\n")
        headers = bearer(upload.secret, "imports:write") | {"Content-Type": "multipart/form-data; boundary=x"}
        response = await upload.client.post("/api/v1/uploads", content=sent, headers=headers)
    else:
        response = await upload.raw(pieces(MANY))
    assert response.status_code == 202, response.text
    assert list(upload.objects().values()) == [MANY]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\books.csv", "books.csv"),
        ("a\x00b\x1b[31m.csv", "ab[31m.csv"),
        ("new\nline\r\n.csv", "newline.csv"),
        ("x" * 10_000, "x" * 255),
        ("..", ".."),
        ("/", "upload.csv"),
        (" \u202e ", "upload.csv"),
        ("Bücher 📚.csv", "Bücher 📚.csv"),
    ],
    ids=repr,
)
async def test_a_hostile_file_name_is_kept_harmless(upload, sent, kept):
    response = await upload.raw(file_name=sent)
    assert (response.status_code, response.json()["file_name"]) == (202, kept)
    assert list(upload.objects()) == [f"uploads/{response.json()['id']}"]
    assert list(upload.store.parent.rglob("passwd")) == []


async def test_a_file_name_in_a_form_is_cleaned_too(upload):
    response = await upload.form(name="../../Bücher\\..\\x.csv")
    assert response.json()["file_name"] == "x.csv"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("ACME / Berlin", "ACME / Berlin"),
        ("ACME\xa0GmbH\n", "ACME\xa0GmbH"),
        ("  ", None),
        ("y" * 255, "y" * 255),
    ],
)
async def test_the_source_is_kept_as_it_is_named(upload, sent, kept):
    assert (await upload.raw(data_source_name=sent)).status_code == 202
    [row] = await upload.rows()
    assert row["source"] == kept


@pytest.mark.parametrize("sent", ["a\x00b", "a\tb", "y" * 256])
async def test_a_source_that_cannot_be_kept_as_it_is_named_is_refused(upload, sent):
    """Cut, two sources would become one."""
    refused = await upload.raw(data_source_name=sent)
    assert (refused.status_code, refused.json()["code"]) == (422, "field_invalid")
    assert "255" in refused.json()["hint"]
    assert await upload.left_nothing()


@pytest.mark.parametrize(
    ("state", "answer"), [("57P03", (503, "database_unavailable")), ("P0001", (500, "internal_error"))]
)
async def test_an_event_that_is_refused_takes_the_row_with_it(upload, database, configure, state, answer):
    """The event's insert is the last statement of the transaction: the row is there already."""
    configure(level="critical", style="json")
    await database.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'asyncpg' USING ERRCODE = '{state}'; END $$;
        CREATE TRIGGER refusing BEFORE INSERT ON bus.outbox EXECUTE FUNCTION refuse()
    """)
    assert_problem(await upload.form(), *answer)
    assert await upload.left_nothing()


async def test_uploads_side_by_side_do_not_meet(upload):
    contents = [MANY + b"Momo,Ende,3522177509,1973\n" * number for number in range(12)]
    responses = await asyncio.gather(*(upload.form(content) for content in contents))
    assert [response.json()["rows_detected"] for response in responses] == [
        1000 + number for number in range(12)
    ]
    assert sorted(upload.objects().values()) == sorted(contents)
    assert len(await upload.rows()) == len(await upload.events()) == 12


async def test_a_store_that_is_away_is_said_to_be(upload, configure):
    configure(level="critical", style="json")
    upload.store.rmdir()
    upload.store.write_text("a file where the folder was")
    response = await upload.form()
    assert_problem(response, 503, "store_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert await upload.rows() == await upload.events() == []
    assert (await upload.client.get("/health/ready")).status_code == 503


async def test_the_services_docs_show_both_ways_to_send_a_file(upload):
    operation = (await upload.client.get("/openapi.json")).json()["paths"]["/api/v1/uploads"]["post"]
    assert {"multipart/form-data", "text/csv"} <= set(operation["requestBody"]["content"])
    assert {"202", "401", "403", "413", "415", "422", "503"} <= set(operation["responses"])
