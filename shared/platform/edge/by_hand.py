"""Routes that take their plain requests by hand, past the framework's way to parameters, which costs some 0.1 ms."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

ByHand = Callable[[Request], Awaitable[Response | None]]


def by_hand(handle: ByHand) -> type[APIRoute]:
    """The class of a route whose requests `handle` answers, but for those where it returns None: these go the usual way.

    What `handle` answers must be what the route would have answered. It may have read the body; nothing else may have
    happened when it returns None.
    """

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            usual = super().get_route_handler()

            async def either(request: Request) -> Response:
                answer = await handle(request)
                return await usual(request) if answer is None else answer

            return either

    return Route
