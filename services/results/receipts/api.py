"""HTTP: the receipt of an import, and the keys that receipts are checked with."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.receipts import queries
from services.results.receipts.resources import PublicKeys, Receipt
from services.results.receipts.signing import ReceiptKeys
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.tenancy import tenant_reading

KEYS_KEPT_SECONDS = 300

_RECEIPT: dict[int | str, dict[str, Any]] = {200: {"model": Receipt, "description": "The receipt, signed"}}


class JwkSetResponse(JSONResponse):
    media_type = "application/jwk-set+json"


def receipts_router(engine: AsyncEngine, auth: Authenticator, keys: ReceiptKeys) -> APIRouter:
    """`/imports/{import_id}/receipt` and `/receipts/keys`."""
    router = APIRouter(prefix="/api/v1", tags=["imports"])
    reader = Depends(auth.require("imports:read"))

    @router.get(
        "/imports/{import_id}/receipt",
        summary="The final balance of an import, signed",
        responses=_RECEIPT | problem_responses(401, 403, 404, 422, 503),
    )
    async def get_receipt(import_id: UUID, caller: Annotated[Principal, reader]) -> JSONResponse:
        """Anybody who has the receipt can check it, without a token and for ever: `penstock verify RECEIPT`, or

        1. take `signature.value` out of the document, and decode it (base64url: 64 bytes);
        2. write what is left as canonical JSON (RFC 8785, JCS), in UTF-8;
        3. check by Ed25519 (RFC 8032) that these bytes have that signature, with the key of `GET /api/v1/receipts/keys`
           that is called `signature.keyId`.

        It is the JSON Signature Format (JSF), which libraries know. Members may be added in later versions of Penstock:
        the signature is of all that are there.
        """
        async with tenant_reading(engine, caller.tenant) as connection:
            document = await queries.get_receipt(connection, caller.tenant, import_id)
        return JSONResponse(keys.signed(document))

    @router.get(
        "/receipts/keys",
        summary="The public keys that receipts are signed with",
        response_class=JwkSetResponse,
        response_model=PublicKeys,
    )
    async def get_receipt_keys() -> JwkSetResponse:
        """A JWK Set, for everybody: needs no token. Keys of earlier receipts stay in it as long as the operator says."""
        return JwkSetResponse(keys.jwk_set, headers={"Cache-Control": f"public, max-age={KEYS_KEPT_SECONDS}"})

    return router
