"""A file that came before is told so, however it comes, however long ago; nobody loads it twice by mistake."""

import asyncio
import gzip

import pytest

from tests.upload.conftest import BOOKS, bearer, end_one, running

OTHER_NAME = {"name": "the same again.csv"}


async def test_the_same_bytes_lead_to_the_earlier_import(upload, database):
    first = (await upload.form()).json()
    await database.execute("UPDATE upload.imports SET uploaded_at = now() - interval '10 years'")
    again = await upload.form(**OTHER_NAME)
    problem = again.json()
    assert (again.status_code, problem["code"]) == (409, "file_already_imported")
    assert (problem["import_id"], problem["links"]["self"]) == (first["id"], first["links"]["self"])
    assert again.headers["link"] == f'<{first["links"]["self"]}>; rel="related"'
    assert "force=true" in problem["hint"]
    assert len(await upload.rows()) == len(upload.objects()) == 1


async def test_packed_or_not_they_are_the_same(upload):
    await upload.raw(gzip.compress(BOOKS))
    assert (await upload.raw()).status_code == 409


@pytest.mark.parametrize("way", ["form", "raw"])
async def test_force_imports_them_again(upload, way):
    send = getattr(upload, way)
    ids = {(await send(force="true")).json()["id"] for _ in range(2)}
    assert len(ids) == 2
    assert sorted(upload.objects()) == sorted(f"uploads/{import_id}" for import_id in ids)
    latest = (await upload.rows())[-1]["import_id"]
    assert (await send(force="false")).json()["import_id"] == str(latest)


async def test_force_is_a_yes_or_a_no(upload):
    response = await upload.form(force="maybe")
    assert (response.status_code, response.json()["code"]) == (422, "field_invalid")


@pytest.mark.parametrize("other", [{"tenant": "other"}, {"dataset": "stock-codes"}])
async def test_other_tenants_and_datasets_have_the_file_for_themselves(upload, other):
    content = b"title,author,isbn,publication_year,stock_code\nMomo,Ende,,1973,S1\n"
    await upload.form(content)
    headers = bearer(upload.secret, "imports:write", tenant=other.get("tenant", "acme"))
    response = await upload.form(content, headers=headers, dataset=other.get("dataset", "books"))
    assert response.status_code == 202


async def test_dry_runs_do_not_count(upload):
    assert (await upload.form(dry_run="true")).status_code == 202
    assert (await upload.form(dry_run="true")).status_code == 202
    assert (await upload.form()).status_code == 202
    assert (await upload.form(dry_run="true")).status_code == 202


@pytest.mark.parametrize(("status", "again"), [("failed", 202), ("cancelled", 202), ("completed", 409)])
async def test_an_import_that_did_not_load_the_file_does_not_count(upload, database, status, again):
    await upload.form()
    await end_one(database, status)
    assert (await upload.form()).status_code == again


async def test_of_many_at_once_one_gets_in(environment, database):
    async with running(environment, database) as one, running(environment, database) as two:
        responses = await asyncio.gather(*((one, two)[number % 2].form() for number in range(12)))
        assert sorted(response.status_code for response in responses) == [202] + [409] * 11
        assert len(await one.rows()) == len(one.objects()) == len(await one.events()) == 1
