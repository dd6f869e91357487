"""`POST /uploads/{id}/cancel` and `/retry`: commands to the processor, or the reason why there is nothing to do."""

from uuid import UUID, uuid4

import pytest

from shared.contracts.events import ImportCancel, ImportRetry
from tests.upload.conftest import bearer, processor_says


@pytest.fixture
async def accepted(upload):
    """The id of an import whose `import.uploaded` is no longer in the outbox."""
    response = await upload.form()
    assert response.status_code == 202, response.text
    await upload.database.execute("DELETE FROM bus.outbox")
    return response.json()["id"]


async def ask(upload, import_id, what, *, scopes=("imports:write",), tenant="acme"):
    headers = bearer(upload.secret, *scopes, tenant=tenant)
    return await upload.client.post(f"/api/v1/uploads/{import_id}/{what}", headers=headers)


@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_an_import_that_has_not_ended_is_cancelled(upload, accepted, status):
    if status != "pending":
        await processor_says(upload.database, accepted, status)
    response = await ask(upload, accepted, "cancel")
    assert response.status_code == 202, response.text
    body = response.json()
    assert (body["id"], body["status"], body["run"]) == (accepted, status, 1)
    assert body["links"]["self"] == f"/api/v1/imports/{accepted}"
    [event] = await upload.events()
    assert event.data == ImportCancel(import_id=UUID(accepted))
    assert (event.type, event.tenant, event.subject) == ("import.cancel", "acme", accepted)


async def test_to_cancel_twice_does_no_harm(upload, accepted):
    assert (await ask(upload, accepted, "cancel")).status_code == 202
    assert (await ask(upload, accepted, "cancel")).status_code == 202
    await processor_says(upload.database, accepted, "cancelled")
    await upload.database.execute("DELETE FROM bus.outbox")
    response = await ask(upload, accepted, "cancel")
    assert (response.status_code, response.json()["status"]) == (202, "cancelled")
    assert await upload.events() == []


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_an_import_that_has_ended_cannot_be_cancelled(upload, accepted, status):
    await processor_says(upload.database, accepted, status)
    response = await ask(upload, accepted, "cancel")
    assert (response.status_code, response.json()["code"]) == (409, "import_ended")
    assert response.json()["import_status"] == status
    assert response.json()["status"] == 409
    assert await upload.events() == []


async def test_a_failed_import_is_tried_again(upload, accepted):
    await processor_says(upload.database, accepted, "failed", run=2)
    response = await ask(upload, accepted, "retry")
    assert response.status_code == 202, response.text
    assert (response.json()["status"], response.json()["run"]) == ("failed", 2)
    [event] = await upload.events()
    assert event.data == ImportRetry(import_id=UUID(accepted))


@pytest.mark.parametrize("status", ["pending", "processing", "completed", "cancelled"])
async def test_only_a_failed_import_is_tried_again(upload, accepted, status):
    if status != "pending":
        await processor_says(upload.database, accepted, status)
    response = await ask(upload, accepted, "retry")
    assert (response.status_code, response.json()["code"]) == (409, "import_not_failed")
    assert "upload it again" in response.json()["hint"]
    assert await upload.events() == []


async def test_what_would_fail_again_is_not_tried(upload, accepted):
    await processor_says(upload.database, accepted, "failed", code="too_many_rejected")
    response = await ask(upload, accepted, "retry")
    assert (response.status_code, response.json()["code"]) == (409, "import_not_retryable")
    assert "raise the limit" in response.json()["hint"]
    assert await upload.events() == []


@pytest.mark.parametrize("what", ["cancel", "retry"])
async def test_another_tenants_import_is_not_there(upload, accepted, what):
    await processor_says(upload.database, accepted, "failed")
    for import_id, tenant in ((accepted, "globex"), (uuid4(), "acme")):
        response = await ask(upload, import_id, what, tenant=tenant)
        assert (response.status_code, response.json()["code"]) == (404, "import_not_found")
    assert await upload.events() == []


@pytest.mark.parametrize("what", ["cancel", "retry"])
async def test_who_may_only_read_may_not_command(upload, accepted, what):
    response = await ask(upload, accepted, what, scopes=("imports:read",))
    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
    assert (await upload.client.post(f"/api/v1/uploads/{accepted}/{what}")).status_code == 401
    assert await upload.events() == []


async def test_an_id_that_is_none_is_refused(upload):
    response = await ask(upload, "7", "cancel")
    assert (response.status_code, response.json()["code"]) == (422, "request_invalid")


async def test_a_command_that_is_refused_says_so(upload, accepted):
    await upload.database.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P03'; END $$;
        CREATE TRIGGER refusing BEFORE INSERT ON bus.outbox EXECUTE FUNCTION refuse()
    """)
    response = await ask(upload, accepted, "cancel")
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")


@pytest.mark.parametrize(
    ("table", "column", "code"),
    [("upload", "file_removed_at", "file_removed"), ("processor", "errors_removed_at", "errors_removed")],
)
async def test_what_is_not_kept_any_more_cannot_go_on(upload, accepted, table, column, code):
    await processor_says(upload.database, accepted, "failed")
    await upload.database.execute(
        f"UPDATE {table}.imports SET {column} = now() WHERE import_id = $1", UUID(accepted)
    )
    response = await ask(upload, accepted, "retry")
    assert (response.status_code, response.json()["code"]) == (409, code)
    assert await upload.events() == []
