"""Query parameters of lists. A filter with a typing error would list everything, and look as if it had filtered.

Streams take any: some clients add what they resume by to the address.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BeforeValidator, WithJsonSchema

from shared.contracts.problems import Unprocessable

MAX_NAME = 100  # characters of a name that are said again

# RFC 3339, and of its dates the midnight in UTC. `T` and `Z` may be small, as it says.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_WANTED = (
    "must be a date as 2026-03-01, or a moment with its offset from UTC as 2026-03-01T08:30:00Z;"
    " in an address write the sign + as %2B"
)


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
                hint=f"there are: {', '.join(there)}" if there else "it takes none",
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


def moment_of(said: Any) -> datetime:
    """The moment that a request names, in UTC.

    Raises:
        ValueError: it is neither a date nor a moment as RFC 3339 writes them, or one beyond the years that there are.
    """
    text = str(said)
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the 30th of February; the year 0
        raise ValueError(f"there is no such time; it {_WANTED}") from error
    raise ValueError(_WANTED)


RequestedMoment = Annotated[
    datetime,
    BeforeValidator(moment_of),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
