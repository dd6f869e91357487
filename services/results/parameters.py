"""Query parameters of lists. A filter with a typing error would list everything, and look as if it had filtered.

Streams take any: some clients add what they resume by to the address.
"""

from collections.abc import Iterable, Sequence

from fastapi import Request
from fastapi.routing import APIRoute

from shared.contracts.problems import Unprocessable

MAX_NAME = 100  # characters of a name that are said again


def refuse_unknown(given: Iterable[str], there: Sequence[str], *, of: str) -> None:
    """See that all parameters are known to a list; `of` names it in a sentence.

    Raises:
        Unprocessable: `filter_unknown`.
    """
    for name in given:
        if name not in there:
            raise Unprocessable(
                "filter_unknown",
                f"{name[:MAX_NAME]!r} is no parameter of {of}",
                hint=f"there are: {', '.join(there)}",
                parameters=list(there),
            )


async def only_known(request: Request) -> None:
    """A dependency of a route that takes the parameters it declares itself, and no others. To come behind the token's.

    Raises:
        Unprocessable: `filter_unknown`.
    """
    route: APIRoute = request.scope["route"]
    refuse_unknown(
        request.query_params, [field.alias for field in route.dependant.query_params], of="this list"
    )
