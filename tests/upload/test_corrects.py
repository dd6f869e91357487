"""Which files may correct which imports, and what is told of those that may not."""

import json
from uuid import uuid4

import pytest

from shared.contracts.error_file import REMARKS
from tests.upload.conftest import BOOKS, bearer, processor_says
from tests.upload.resumable import Tus
from tests.upload.test_api import assert_problem
from tests.upload.test_options import form_of, post

HEADER = "title,author,isbn,publication_year," + ",".join(REMARKS)
MENDED = f"{HEADER}\nMomo,Michael Ende,9783522177504,1973,2,isbn_invalid,no\n".encode()


async def ended(upload, status="completed", **fields):
    """An import of books that has ended; its id."""
    import_id = (await upload.form(**fields)).json()["id"]
    await processor_says(upload.database, import_id, status)
    return import_id


async def corrections(upload):
    return [str(row["corrects"]) for row in await upload.rows() if row["corrects"]]


@pytest.mark.parametrize("way", ["form", "raw", "behind the file", "with its dataset", "resumable"])
async def test_a_corrected_error_file_is_taken_in_whichever_way_it_comes(upload, way):
    corrected = await ended(upload)
    if way == "form":
        response = await upload.form(MENDED, corrects=corrected, dataset="")
    elif way == "raw":
        response = await upload.raw(MENDED, corrects=corrected, dataset="")
    elif way == "with its dataset":
        response = await upload.form(MENDED, corrects=corrected, dataset="books")
    elif way == "resumable":
        tus = Tus(upload.client, upload.secret)
        path = (await tus.create(len(MENDED), dataset="", corrects=corrected)).headers["location"]
        response = await tus.patch(path, 0, MENDED)
    else:
        response = await post(upload, form_of(("file", MENDED), ("corrects", corrected)))
    assert response.status_code in {202, 204}, response.text
    assert await corrections(upload) == [corrected]
    event = [event for event in await upload.events() if event.type == "import.uploaded"][-1]
    assert (str(event.data.corrects), event.data.dataset) == (corrected, "books")


@pytest.mark.parametrize(
    ("state", "fields", "status", "code"),
    [
        ("unknown", {}, 422, "corrects_unknown"),
        ("stranger's", {}, 422, "corrects_unknown"),
        ("completed", {"dataset": "products"}, 422, "corrects_other_dataset"),
        ("pending", {}, 409, "corrects_not_ended"),
        ("processing", {}, 409, "corrects_not_ended"),
        ("completed", {"dry_run": "true"}, 422, "corrects_nothing_loaded"),
        ("failed", {"atomic": "true"}, 422, "corrects_nothing_loaded"),
        ("cancelled", {"max_rejected": "3"}, 422, "corrects_nothing_loaded"),
        ("words", {}, 422, "field_invalid"),
    ],
)
async def test_an_import_that_cannot_be_corrected(upload, state, fields, status, code):
    fields = dict(fields)
    dataset = fields.pop("dataset", "")
    if state in {"unknown", "words"}:
        corrected = str(uuid4()) if state == "unknown" else "the last one"
    elif state == "pending":
        corrected = (await upload.form(**fields)).json()["id"]
    elif state == "stranger's":
        headers = bearer(upload.secret, "imports:write", tenant="other")
        corrected = await ended(upload, headers=headers)
    else:
        corrected = await ended(upload, state, **fields)
    said = [("corrects", corrected), ("dataset", dataset)]
    file = [("file", MENDED)]
    for parts in (said + file, file + said):
        assert_problem(await post(upload, form_of(*parts)), status, code)
    assert await corrections(upload) == []


async def test_a_resumable_upload_hears_of_it_before_its_first_byte(upload):
    tus = Tus(upload.client, upload.secret)
    response = await tus.create(len(MENDED), dataset="", corrects=str(uuid4()))
    assert (response.status_code, response.json()["code"]) == (422, "corrects_unknown")
    response = await tus.create(len(MENDED), dataset="")
    assert (response.status_code, response.json()["code"]) == (422, "dataset_missing")


async def test_a_failed_import_of_which_some_was_loaded_can_be_corrected(upload):
    corrected = await ended(upload, "failed")
    assert (await upload.form(MENDED, corrects=corrected)).status_code == 202


async def test_a_file_that_names_no_lines_corrects_nothing_and_is_told_what_to_send(upload):
    corrected = await ended(upload)
    response = await upload.form(BOOKS + b"Other,Author,9780306406157,1999\n", corrects=corrected)
    assert_problem(response, 422, "corrects_without_lines")
    assert "`_line`" in response.json()["detail"]
    assert "errors.csv" in response.json()["hint"]


async def test_the_same_correction_twice_is_one_too_many_and_other_bytes_are_not(upload):
    corrected = await ended(upload)
    first = (await upload.form(MENDED, corrects=corrected, atomic="true")).json()["id"]
    again = await upload.form(MENDED, corrects=corrected)
    assert_problem(again, 409, "file_already_imported")
    await processor_says(upload.database, first, "failed")
    assert (await upload.form(MENDED.replace(b"Momo", b"Jim"), corrects=corrected)).status_code == 202
    assert (await upload.form(MENDED, corrects=corrected)).status_code == 202


async def test_names_are_as_they_were_though_some_remarks_are_gone(upload):
    corrected = await ended(upload)
    content = MENDED.replace(b"_line,_codes,_messages", b"'=total,_line", 1).replace(
        b"2,isbn_invalid,no", b",2"
    )
    assert (await upload.form(content, corrects=corrected)).status_code == 202
    row = next(row for row in await upload.rows() if row["corrects"])
    assert json.loads(row["header"])[4:] == ["=total", "_line"]


async def test_the_names_of_an_error_file_are_as_they_were(upload):
    corrected = await ended(upload)
    content = MENDED.replace(b"_line", b"'=total,'tis,_line", 1).replace(b",2,", b",,,2,", 1)
    assert (await upload.form(content, corrects=corrected)).status_code == 202
    row = next(row for row in await upload.rows() if row["corrects"])
    assert json.loads(row["header"])[4:] == ["=total", "'tis", *REMARKS]
