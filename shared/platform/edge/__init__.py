"""What every HTTP request meets before a service's route, and every response has.

From the outside in: security headers; CORS, where it is on; a correlation id, and an answer to what crashed; an answer
to what a stopping process cuts off; limits on the body's size, pace and JSON; a limit on the time to an answer.
"""

from collections.abc import Callable

from fastapi import FastAPI

from shared.platform.edge.answers import RefusingRoute, add_answers
from shared.platform.edge.by_hand import by_hand
from shared.platform.edge.cors import CORS, CORSMiddleware
from shared.platform.edge.headers import SecurityHeadersMiddleware
from shared.platform.edge.openapi import problem_responses
from shared.platform.edge.request import Streams
from shared.platform.edge.request_body import RequestBodyMiddleware
from shared.platform.edge.stopping import InHand, StoppingMiddleware
from shared.platform.edge.time_limit import TimeLimitMiddleware
from shared.platform.edge.trace import TraceMiddleware
from shared.platform.settings import ProcessSettings

__all__ = ["InHand", "RefusingRoute", "Streams", "add_edge", "by_hand", "problem_responses"]


def add_edge(
    app: FastAPI,
    settings: ProcessSettings,
    *,
    streams: Streams = Streams(),  # noqa: B008 - it has no state
    in_hand: InHand | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Put all of it around `app`. Requests on their way are counted in `in_hand`; `stopping`: the process was told to."""
    add_answers(app)
    # The last one added is the outermost.
    app.add_middleware(TimeLimitMiddleware, seconds=settings.request_seconds, streams=streams)
    app.add_middleware(
        RequestBodyMiddleware,
        idle_seconds=settings.body_idle_seconds,
        seconds=settings.request_seconds,
        streams=streams,
    )
    app.add_middleware(StoppingMiddleware, in_hand=in_hand or InHand(), stopping=stopping)
    app.add_middleware(TraceMiddleware)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS)
    app.add_middleware(SecurityHeadersMiddleware)
