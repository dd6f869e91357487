"""Errors to Sentry, where PENSTOCK_SENTRY_DSN says so: what is logged with a traceback.

Of an exception its type and where it was raised: no message, no local variable, no body. A message may hold what somebody
sent; it is in the log, which the tag `trace_id` leads to.
"""

import logging
import sys
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

Raised = tuple[type[BaseException], BaseException, TracebackType | None]

TAGS = ("service", "tenant", "event_type", "queue", "trace_id")
CLOSE_SECONDS = 1.0


class _Sentry:
    sdk: ModuleType | None = None


def configure(dsn: str, *, environment: str, release: str, service: str) -> None:
    """Send from now on, in the background."""
    import sentry_sdk  # noqa: PLC0415 - only those who have it wait for it at each start

    _Sentry.sdk = sentry_sdk
    sentry_sdk.init(
        dsn,
        environment=environment,
        release=release,
        server_name=service,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_without_messages,
    )
    sentry_sdk.get_global_scope().set_tag("service", service)
    logging.getLogger().addHandler(_Sending(sentry_sdk))


def close() -> None:
    """Send what waits to be sent. What Sentry does not take within CLOSE_SECONDS is lost."""
    if _Sentry.sdk is not None:
        _Sentry.sdk.flush(timeout=CLOSE_SECONDS)


class _Sending(logging.Handler):
    """Sends the exceptions of log lines, with the ids that the line has.

    A line of a library is named by its logger: its text may have the exception's message in it.
    """

    def __init__(self, sdk: ModuleType) -> None:
        super().__init__(logging.ERROR)
        self._sdk = sdk

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.name}
        raised = _raised(record.exc_info or line.get("exc_info"))
        if raised is None:
            return
        with self._sdk.new_scope() as scope:
            scope.set_tag("event", str(line.get("event")))
            for tag in TAGS:
                if value := line.get(tag):
                    scope.set_tag(tag, str(value))
            self._sdk.capture_exception(raised)


def _raised(said: Any) -> Raised | None:
    """The exception of a log line, in any of the forms that `logging` and structlog take."""
    if isinstance(said, BaseException):
        return type(said), said, said.__traceback__
    found = said if isinstance(said, tuple) else sys.exc_info() if said else None
    return found if found and found[1] is not None else None


def _without_messages(event: "Event", _: "Hint") -> "Event":
    for raised in event.get("exception", {}).get("values", []):
        raised.pop("value", None)
    return event
