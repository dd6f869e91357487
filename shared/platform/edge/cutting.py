"""Breaking off an answer that has begun. To raise something would do, too, and be logged as a crash of ours."""

from starlette.types import Receive, Scope

CUT = "penstock.cut"  # an extension of ASGI by our server: its `cut()` breaks the connection


async def cut_off(scope: Scope, receive: Receive) -> None:
    """Break the request's connection, and wait until it is. Behind another server than ours nothing happens."""
    extension = scope.get("extensions", {}).get(CUT)
    if extension is None:
        return
    extension["cut"]()
    while (await receive())["type"] != "http.disconnect":
        pass
