"""HTTP of results, all below `/api/v1`."""

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.datasets.api import datasets_router
from services.results.errors.api import errors_router
from services.results.files.api import files_router
from services.results.imports.api import imports_router
from services.results.imports.stream import Watches
from services.results.receipts.api import receipts_router
from services.results.receipts.signing import ReceiptKeys
from services.results.records.api import records_router
from services.results.records.api_edits import edits_router
from services.results.records.editing import Edits
from shared.platform.auth import Authenticator
from shared.platform.objects import Objects
from shared.platform.querying import Copies
from shared.platform.service import joined


def results_router(
    engine: AsyncEngine,
    auth: Authenticator,
    *,
    watches: Watches,
    objects: Objects,
    keys: ReceiptKeys,
    copies: Copies,
    edits: Edits,
) -> APIRouter:
    """Every path of this service: `/imports`, `/receipts`, `/records`, `/datasets`."""
    return joined(
        imports_router(engine, auth, watches),
        errors_router(engine, auth, objects),
        files_router(engine, auth, objects),
        receipts_router(engine, auth, keys),
        records_router(engine, auth, copies),
        edits_router(auth, edits),
        datasets_router(auth),
    )
