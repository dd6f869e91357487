"""What the OpenAPI description says of the API is so: asked by schemathesis, which makes requests of it, good and bad.

It runs as a program: its pytest plugin follows pytest's inner workings, and breaks with them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, token

HOOKS = Path(__file__).with_name("openapi_hooks.py")
BOOKS = b"title,author,isbn,publication_year\nMomo,Michael Ende,978-3-522-17750-4,1973\nMomo,,x,y\n"
# A list of records takes some fifty parameters, and those of parts and stock codes are all of kinds that others have, too;
# exports take what their dataset's list takes.
ALIKE = r"/records/((parts|stock-codes)|(books|parts|quotes|stock-codes)\.(csv|ndjson))$"
EXAMPLES = 15  # of each kind for each operation, beside those at the edges of its schema
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


@pytest.fixture
async def stack(database_url, tmp_path):
    """All four services in one process."""
    running = Stack(tmp_path, database_url, None)
    yield await running.started()
    await running.close()


@pytest.fixture
async def known(stack, tmp_path):
    """Something for each path parameter."""
    file = tmp_path / "books.csv"
    file.write_bytes(BOOKS)
    imported = await stack.finished((await stack.upload(file, "books"))["id"])
    webhook = await stack.webhook("http://127.0.0.1:61009/hook", "import.*")
    delivery = await stack.post(f"/webhooks/{webhook['id']}/test", {})
    logged = await stack.post("/investigation-events", {"stage": "load_ftp", "reason": "file_missing"})
    key = await stack.post("/api-keys", {"name": "known", "scopes": ["imports:read"]})
    supplier = await stack.post("/suppliers", {"id": "mill", "name": "Mill"})
    creation = await stack.http.post(
        stack.url("/tus"),
        params={"dataset": "books"},
        headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1000000"},
    )
    [record] = (await stack.get("/records/books"))["items"]
    return {
        "service": "processor",
        "import_id": imported["id"],
        "row_number": 1,
        "dataset": "books",
        "record_id": record["id"],
        "webhook_id": webhook["id"],
        "delivery_id": delivery.json()["id"],
        "investigation_id": logged.json()["investigation_id"],
        "code": "file_missing",
        "key_id": key.json()["id"],
        "supplier_id": supplier.json()["id"],
        "job": "daily-analysis",
        "date": "2026-03-01",
        "token": token(),
        "upload_id": creation.headers["location"].rpartition("/")[2],
    }


def schemathesis(stack, known):
    """Let it try every operation; how it ended, and its report."""
    report = stack.folder / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{stack.base('all')}/openapi.json"),
        *("--header", f"Authorization: Bearer {token()}", "--checks", ",".join(CHECKS)),
        *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
        *("--exclude-path", "/api/v1/imports/events"),  # which does not end
        *("--exclude-path-regex", ALIKE),
        *(
            "--continue-on-failure",
            "--no-shrink",
            "--suppress-health-check",
            "all",
            "--request-timeout",
            "30",
        ),
        *("--no-color", "--warnings", "off"),
        *("--report", "json", "--report-json-path", str(report)),
    ]
    environment = {
        "PYTHONPATH": str(HOOKS.parent),
        "SCHEMATHESIS_HOOKS": HOOKS.stem,
        "PENSTOCK_KNOWN": json.dumps(known),
    }
    done = subprocess.run(
        command,
        cwd=stack.folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=430,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return done, json.loads(report.read_text())


@pytest.mark.timeout(440)  # 95 s where nothing else runs; beside other tests 219 s were seen
async def test_every_answer_is_as_described(stack, known):
    done, report = schemathesis(stack, known)
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["operations"]["tested"] == report["operations"]["selected"] > 30
    assert "crashed" not in stack.log("all", most=10**8)
    # Its requests got further than to be refused.
    for table in (
        "upload.imports",
        "upload.tus_uploads",
        "notifier.endpoints",
        "auth.api_keys",
        "auth.sessions",
    ):
        [[count]] = await stack.rows(f"SELECT count(*) FROM {table}")
        assert count > 5, table
