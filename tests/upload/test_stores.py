"""Stores other than a folder: uploads on an S3 server over HTTP, and which URLs are stores at all."""

import asyncio
import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from socket import create_connection
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from obstore.store import S3Store

from penstock.registry import build
from shared.platform.objects import FORMS, Objects, StoreUrlInvalid
from shared.platform.service import Stopping, compose
from tests.e2e.stack import free_port
from tests.upload.conftest import BOOKS, bearer, running
from tests.upload.test_process import LINE, MIB, Process, eventually, request_head

KEY, SECRET, REGION = "key", "hush", "eu-central-1"
HEADER = BOOKS[: BOOKS.index(b"\n") + 1]


class S3:
    """moto's S3 server with one bucket, asked directly."""

    def __init__(self, url):
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False)

    def make_bucket(self, name):
        self.bucket = name
        self._http.put(
            f"/{name}",
            content=f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint>"
            "</CreateBucketConfiguration>",
        ).raise_for_status()

    def objects(self):
        """ETags by key. A multipart upload's ends with a dash and its number of parts."""
        listed = self._http.get(f"/{self.bucket}", params={"list-type": 2}).text
        return dict(
            re.findall(r"<Key>(.+?)</Key>.*?<ETag>(?:&quot;|\")(.+?)(?:&quot;|\")</ETag>", listed, re.DOTALL)
        )

    def unfinished(self):
        """The keys of multipart uploads that were begun, and neither completed nor aborted."""
        return re.findall(r"<Key>(.+?)</Key>", self._http.get(f"/{self.bucket}", params="uploads").text)

    def content(self, key):
        store = S3Store(
            self.bucket,
            endpoint=self.url,
            region=REGION,
            access_key_id="reader",
            secret_access_key="reader",
            client_options={"allow_http": True},
        )
        return bytes(obstore.get(store, key).bytes())

    async def is_empty(self):
        return not (await asyncio.to_thread(self.objects) or await asyncio.to_thread(self.unfinished))

    async def parts_arrive(self):
        await eventually(lambda: asyncio.to_thread(self.unfinished))


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    port = free_port()
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--port", str(port)], stdout=log, stderr=log
        )
    try:
        wait_for(port)
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def wait_for(port):
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/moto-api/", trust_env=False)
        except httpx.TransportError:
            continue
        return
    pytest.fail("moto's server did not start")


@pytest.fixture
def s3(moto, environment, monkeypatch):
    """An empty bucket, where the services' settings say that files go."""
    moto.make_bucket(f"files-{os.urandom(4).hex()}")
    environment["PENSTOCK_STORE_URL"] = f"s3://{moto.bucket}"
    for name, value in {
        "PENSTOCK_STORE_URL": f"s3://{moto.bucket}",
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    return moto


@pytest.fixture
def objects(s3):
    return Objects(f"s3://{s3.bucket}")


@pytest.fixture
async def upload(s3, environment, database):
    async with running(environment, database) as service:
        yield service


async def pieces(*content):
    for piece in content:
        yield piece


async def put(objects, key, content):
    await objects.put(key, pieces(content))


async def noted(database):
    """What the database still knows of uploads that came to nothing."""
    tables = ("intakes", "imports", "idempotency_keys")
    return {name: await database.fetchval(f"SELECT count(*) FROM upload.{name}") for name in tables}


async def test_a_small_file_is_in_the_bucket_as_it_came(upload, s3):
    response = await upload.form()
    assert response.status_code == 202, response.text
    [key] = s3.objects()
    assert key.endswith(response.json()["id"])
    assert s3.content(key) == BOOKS
    assert s3.unfinished() == []


@pytest.mark.parametrize("dataset_last", [False, True], ids=["dataset known", "read again behind the file"])
async def test_a_large_file_goes_in_parts(upload, s3, dataset_last):
    content = HEADER + LINE * (20 * MIB // len(LINE))
    if dataset_last:
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.csv"\r\n\r\n'
        tail = b'\r\n--x\r\nContent-Disposition: form-data; name="dataset"\r\n\r\nbooks\r\n--x--\r\n'
        headers = bearer(upload.secret, "imports:write") | {"Content-Type": "multipart/form-data; boundary=x"}
        response = await upload.client.post(
            "/api/v1/uploads", content=pieces(head, content, tail), headers=headers
        )
    else:
        response = await upload.raw(content)
    assert response.status_code == 202, response.text
    assert response.json()["rows_detected"] == content.count(b"\n") - 1
    [(key, etag)] = s3.objects().items()
    assert etag.endswith("-3"), "three parts of 8 MiB at most"
    assert s3.content(key) == content


async def test_a_file_that_is_refused_leaves_nothing(upload, s3, database):
    assert (await upload.raw(b"no,header,of,ours\n1,2,3,4\n")).status_code == 422
    sales = b"transaction_id,sold_at,sku,quantity,unit_price\n", b"T-1,2026-01-01,P-1,1,2.50\n" * (MIB // 26)
    too_large = pieces(sales[0], *[sales[1]] * 12)  # 8 MiB of it are in the bucket before it is
    response = await upload.raw(too_large, dataset="sales")
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert await s3.is_empty()
    assert set((await noted(database)).values()) == {0}


async def test_the_original_file_and_its_parts_come_from_the_bucket(upload, s3, database):
    content = HEADER + LINE * (5 * MIB // len(LINE))
    import_id = (await upload.raw(content)).json()["id"]
    path = f"/api/v1/imports/{import_id}/file"
    app = compose([build("results", Stopping())])
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client,
    ):
        client.base_url, client.headers = "http://results", bearer(upload.secret, "imports:read")
        assert (await client.get(path)).content == content
        part = await client.get(path, headers={"Range": f"bytes={3 * MIB}-{3 * MIB + 9}"})
        assert (part.status_code, part.content) == (206, content[3 * MIB : 3 * MIB + 10])
        await Objects(f"s3://{s3.bucket}").delete(f"uploads/{import_id}")
        gone = await client.get(path)
        assert (gone.status_code, gone.json()["code"]) == (404, "file_not_found")


async def test_clients_that_go_away_and_a_process_that_stops_leave_nothing(
    s3, environment, database, tmp_path
):
    process = Process(environment, tmp_path)
    body = HEADER + LINE * (20 * MIB // len(LINE))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", trust_env=False) as client:
        await process.ready(client)
    caller = SimpleNamespace(secret=environment["PENSTOCK_JWT_SECRET"])
    head = request_head(caller, "Content-Type: text/csv", f"Content-Length: {100 * MIB}")
    with closing(create_connection(("127.0.0.1", process.port))) as gone:
        await asyncio.to_thread(gone.sendall, head + body)
        await s3.parts_arrive()
    await eventually(s3.is_empty)
    with closing(create_connection(("127.0.0.1", process.port))) as waiting:
        await asyncio.to_thread(waiting.sendall, head + body)
        await s3.parts_arrive()
        await asyncio.to_thread(process.stop)
    assert await s3.is_empty()
    assert set((await noted(database)).values()) == {0}


@pytest.mark.parametrize("stored", [1, 3], ids=["in the first part", "in a later part"])
async def test_a_put_that_is_cancelled_leaves_nothing(objects, s3, stored):
    waits = asyncio.Event()

    async def endless():
        for _ in range(stored * 8 - 4):
            yield b"a" * MIB
        waits.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put("uploads/half", endless()))
    await waits.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await s3.is_empty()


async def test_what_is_discarded_or_deleted_is_gone_and_may_be_gone_before(objects, s3):
    for remove in (objects.discard, objects.delete):
        await put(objects, "uploads/one", BOOKS)
        await put(objects, "uploads/one-more", BOOKS)
        await remove("uploads/one")
        await remove("uploads/one")
        assert list(s3.objects()) == ["uploads/one-more"]


async def test_reading_ranges(objects):
    content = bytes(range(256)) * 4
    await put(objects, "uploads/one", content)
    assert await objects.read("uploads/one", 250, 10) == content[250:260]
    assert await objects.read("uploads/one", 1020, 10) == content[1020:]
    assert await objects.read("uploads/one", 1024, 10) == b""


async def test_a_presigned_url_gives_a_range_to_whoever_has_it_for_its_time(objects):
    await put(objects, "uploads/one", BOOKS)
    url = await objects.presigned("uploads/one", 90)
    async with httpx.AsyncClient(trust_env=False) as anybody:
        part = await anybody.get(url, headers={"Range": "bytes=7-11"})
    assert (part.status_code, part.content) == (206, BOOKS[7:12])
    assert part.headers["Content-Range"] == f"bytes 7-11/{len(BOOKS)}"
    # moto holds nobody to the time. S3 does, by what is signed: here is that it is, and is what was asked for.
    said = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    signed_at = datetime.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - signed_at) < timedelta(minutes=1)
    assert said["X-Amz-Expires"] == "90"
    assert said["X-Amz-Signature"] == signature_of(url, said["X-Amz-Date"])
    longer = url.replace("X-Amz-Expires=90", "X-Amz-Expires=91")
    assert said["X-Amz-Signature"] != signature_of(longer, said["X-Amz-Date"])


def signature_of(url, timestamp):
    """What Amazon's own library signs this URL with (Signature Version 4)."""
    unsigned = AWSRequest("GET", url.partition("&X-Amz-Signature=")[0])
    unsigned.context["timestamp"] = timestamp
    auth = S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", REGION)
    return auth.signature(auth.string_to_sign(unsigned, auth.canonical_request(unsigned)), unsigned)


async def test_a_folder_has_no_presigned_urls(tmp_path):
    folder = Objects(f"file://{tmp_path}")
    await put(folder, "uploads/one", BOOKS)
    assert await folder.presigned("uploads/one", 90) is None


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("file://{folder}/of/files", None),
        ("FILE://{folder}/of/files", None),
        ("s3://bucket", None),
        ("s3://bucket/and/folder", None),
        ("gs://bucket", None),
        ("abfs://container@account.dfs.core.windows.net", None),
        ("abfss://container@account.dfs.core.windows.net/folder", None),
        (
            "az://container",
            "Account must be specified; write az://container, with AZURE_STORAGE_ACCOUNT_NAME",
        ),
        ("abfs://container", "Account must be specified; write abfs://container@account"),
        ("s3://", "cannot be read; write s3://bucket"),
        ("file://folder", "cannot be read; write file:///folder"),
        ("file:///proc/none", "the folder cannot be made"),
        ("http://store.example/files", "http:// is no kind of store"),
        ("https://bucket.s3.eu-central-1.amazonaws.com", "https:// is no kind of store"),
        ("memory:///", "memory:// is no kind of store"),
        ("ftp://user:hush@store.example", "ftp:// is no kind of store"),
        ("s3://user:hush@bucket:99999", "write s3://bucket"),
        ("file:folder", "it is no URL"),
        ("/var/files", "it is no URL"),
        ("", "it is no URL"),
    ],
)
def test_urls_are_understood_or_refused_with_the_reason(url, refused, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    url = url.format(folder=tmp_path)
    if refused is None:
        Objects(url)
        return
    with pytest.raises(StoreUrlInvalid) as caught:
        Objects(url)
    assert refused in str(caught.value)
    assert any(form in str(caught.value) for form in FORMS.values()), "says what to write"
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_azure_takes_its_account_from_the_environment(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    Objects("az://container")
