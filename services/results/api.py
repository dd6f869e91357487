"""HTTP of results: the API below `/api/v1`, and the console's pages."""

from datetime import timedelta

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.console.api import console_router
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
from services.results.session.api import session_router
from services.results.system.api import system_router
from shared.platform.auth import Authenticator
from shared.platform.bus import Bus
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
    bus: Bus,
    session_lasts: timedelta,
) -> APIRouter:
    """Every path of this service: `/imports`, `/receipts`, `/records`, `/datasets`, `/system`, `/session`."""
    return joined(
        imports_router(engine, auth, watches),
        errors_router(engine, auth, objects),
        files_router(engine, auth, objects),
        receipts_router(engine, auth, keys),
        records_router(engine, auth, copies),
        edits_router(auth, edits),
        datasets_router(auth),
        system_router(engine, auth, bus),
        session_router(engine, auth, lasting=session_lasts),
        console_router(),
    )
