"""Routes of suppliers. Their ids may contain `/`, so none is like what stands behind one in a path."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Match
from starlette.types import Scope

from services.notifier.suppliers import changing, pages, repository
from services.notifier.suppliers.changing import ERRORS_SHOWN, not_found
from services.notifier.suppliers.imports import Release
from services.notifier.suppliers.listing import COLUMNS
from services.notifier.suppliers.pages import DAYS_BY_DEFAULT, MOST_DAYS
from services.notifier.suppliers.repository import FileFilters, Filters
from services.notifier.suppliers.resources import (
    AddedSupplier,
    DayList,
    FileList,
    ImportedSuppliers,
    NewSupplier,
    ShownStatus,
    Supplier,
    SupplierList,
    SupplierPage,
    SupplierPatch,
    SupplierValues,
    is_reserved,
    path_of,
)
from shared.contracts.problems import UnsupportedMedia
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading, tenant_writing

CSV_TYPES = (
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/csv",
    "application/vnd.ms-excel",  # what Windows calls a CSV file where Excel is installed
)
_LISTING: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "id,name,partner,enabled\nacme-books,Acme Books,Acme,true\n",
            }
        },
    }
}
_LOCATION: dict[str, Any] = {
    "headers": {"Location": {"description": "Where the supplier is", "schema": {"type": "string"}}}
}

NamedSupplier = Annotated[StorableText, Path(description="The supplier's `id`; may contain `/`")]
Since = Annotated[date | None, Query(description="The first day; a date as 2026-03-01")]
Until = Annotated[date | None, Query(description="The last day; a date as 2026-03-31")]


class _SupplierRoute(APIRoute):
    """Takes an id that may contain `/`, but nothing that is another route's path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE and is_reserved(found["path_params"].get("supplier_id", "")):
            return Match.NONE, {}
        return match, found


def suppliers_router(
    engine: AsyncEngine, authenticator: Authenticator, *, release: Release, zone: ZoneInfo
) -> APIRouter:
    """Add, change, remove and list suppliers; show their days, their files, and all of one.

    Args:
        release: Logs what is in quarantine of suppliers that are added.
        zone: Of the deployment's days.
    """
    routes = APIRouter(prefix="/api/v1/suppliers", tags=["suppliers"], route_class=_SupplierRoute)
    reader = Depends(authenticator.require("investigations:read"))
    admin = Depends(authenticator.require("investigations:admin"))
    _add_adding(routes, admin, engine, release)
    _add_list(routes, reader, engine)
    _add_history(routes, reader, engine, zone)
    _add_page(routes, reader, engine)
    _add_changing(routes, admin, engine)
    return routes


def _add_adding(routes: APIRouter, admin: Any, engine: AsyncEngine, release: Release) -> None:
    @routes.post(
        "",
        status_code=201,
        operation_id="add_supplier",
        summary="Add a supplier",
        description="Events that name it are logged from now on; those that were kept in quarantine, as nobody knew it, are"
        " logged with it. A supplier is also added by the first file that is imported with its id as `data_source_name`.",
        responses={201: _LOCATION, **problem_responses(401, 403, 409, 422)},
    )
    async def add(caller: Annotated[Principal, admin], new: NewSupplier, response: Response) -> AddedSupplier:
        async with tenant_writing(engine, caller.tenant) as connection:
            added = await changing.add(connection, caller.tenant, new, release)
        response.headers["Location"] = path_of(new.id)
        return added

    named = "; ".join(f"`{column.name}` (also {_or(column.aliases)})" for column in COLUMNS)

    @routes.post(
        "/import",
        operation_id="import_suppliers",
        summary="Add and change suppliers from a CSV file",
        description=f"Columns, in whatever case, order and spelling with blanks, `_` or `-`: {named}. `id` and `name` are"
        " required. Delimiter, quotes and encoding are found, as for every file. A supplier that is there is changed; a column"
        " that the file does not have changes nothing, a blank `partner` takes it away, a blank `enabled` leaves it. All rows"
        " that are right are stored in one transaction; what is wrong with the others is in `errors`, of which the first"
        f" {ERRORS_SHOWN:,} are told. The file has up to 1 MiB.",
        responses=problem_responses(401, 403, 408, 413, 415, 422),
        openapi_extra=_LISTING,
    )
    async def import_suppliers(
        caller: Annotated[Principal, admin],
        request: Request,
        dry_run: Annotated[bool, Query(description="Change nothing; tell what would become of it")] = False,
    ) -> ImportedSuppliers:
        _check_type(request)
        file = await request.body()
        return await changing.import_listing(engine, caller.tenant, file, release, dry_run=dry_run)


def _add_list(routes: APIRouter, reader: Any, engine: AsyncEngine) -> None:
    @routes.get(
        "",
        operation_id="list_suppliers",
        summary="Suppliers in order of their ids, with what came of them on a day, if one is asked for",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_all(
        *,
        caller: Annotated[Principal, reader],
        enabled: Annotated[bool | None, Query(description="Only those that are, or that are not")] = None,
        partner: Annotated[StorableText | None, Query(description="Only those of this partner")] = None,
        q: Annotated[
            StorableText | None,
            Query(
                description="Only those with this in id, name or partner, in whatever case", max_length=255
            ),
        ] = None,
        day: Annotated[
            date | None, Query(description="With the numbers of this day, as 2026-03-01, in `day`")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> SupplierList:
        filters = Filters(enabled=enabled, partner=partner, q=q)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await pages.list_suppliers(
                connection, caller.tenant, filters, day=day, limit=limit, cursor=cursor, total=total
            )


def _add_history(routes: APIRouter, reader: Any, engine: AsyncEngine, zone: ZoneInfo) -> None:
    @routes.get(
        "/{supplier_id:path}/days",
        operation_id="list_supplier_days",
        summary="What came of a supplier day by day: files, rows, errors, last stage",
        description=f"The last {DAYS_BY_DEFAULT} days, if neither `since` nor `until` is given; up to {MOST_DAYS} at a time."
        " Days are those of the deployment's time zone.",
        responses=problem_responses(401, 403, 404, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_days(
        caller: Annotated[Principal, reader],
        supplier_id: NamedSupplier,
        since: Since = None,
        until: Until = None,
    ) -> DayList:
        last = until or datetime.now(zone).date()
        async with tenant_reading(engine, caller.tenant) as connection:
            return await pages.list_days(connection, caller.tenant, supplier_id, since, last)

    @routes.get(
        "/{supplier_id:path}/files",
        operation_id="list_supplier_files",
        summary="Files of a supplier, the newest first",
        responses=problem_responses(401, 403, 404, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_files(
        *,
        caller: Annotated[Principal, reader],
        supplier_id: NamedSupplier,
        status: Annotated[ShownStatus | None, Query(description="Only those with this status")] = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> FileList:
        filters = FileFilters(status=status, since=since, until=until)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await pages.list_files(
                connection, caller.tenant, supplier_id, filters, limit=limit, cursor=cursor, total=total
            )


def _add_page(routes: APIRouter, reader: Any, engine: AsyncEngine) -> None:
    @routes.get(
        "/{supplier_id:path}",
        operation_id="get_supplier",
        summary="One supplier, with all that is known of it: totals, latest files, last analysis, open investigations",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get(caller: Annotated[Principal, reader], supplier_id: NamedSupplier) -> SupplierPage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await pages.get_page(connection, caller.tenant, supplier_id)


def _add_changing(routes: APIRouter, admin: Any, engine: AsyncEngine) -> None:
    @routes.put(
        "/{supplier_id:path}",
        operation_id="replace_supplier",
        summary="Replace all that is said of a supplier",
        description="What is left out is as for a new one. 404, if there is no such supplier: add it with POST.",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def replace(
        caller: Annotated[Principal, admin], supplier_id: NamedSupplier, values: SupplierValues
    ) -> Supplier:
        return await changed(caller, supplier_id, values.model_dump())

    @routes.patch(
        "/{supplier_id:path}",
        operation_id="change_supplier",
        summary="Change, enable or disable a supplier",
        description="A JSON merge patch (RFC 7396).",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def change(
        caller: Annotated[Principal, admin], supplier_id: NamedSupplier, patch: SupplierPatch
    ) -> Supplier:
        return await changed(caller, supplier_id, patch.model_dump(exclude_unset=True))

    async def changed(caller: Principal, supplier_id: str, changes: Mapping[str, Any]) -> Supplier:
        async with tenant_writing(engine, caller.tenant) as connection:
            row = await changing.change(connection, caller.tenant, supplier_id, changes)
        return Supplier.model_validate(row)

    @routes.delete(
        "/{supplier_id:path}",
        status_code=204,
        operation_id="delete_supplier",
        summary="Remove a supplier",
        description="Its events, investigations and files stay, and are its own again if it is added again. Events that name"
        " it are kept in quarantine from now on; a file that is imported with its id adds it again.",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def delete(caller: Annotated[Principal, admin], supplier_id: NamedSupplier) -> None:
        async with tenant_writing(engine, caller.tenant) as connection:
            if not await repository.delete_supplier(connection, caller.tenant, supplier_id):
                raise not_found(supplier_id)


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _check_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in CSV_TYPES:
        raise UnsupportedMedia(
            "media_type_unsupported",
            f"the body is of type {media_type or 'unknown'!r}, which cannot be taken",
            hint="send the bare file, as text/csv",
        )
