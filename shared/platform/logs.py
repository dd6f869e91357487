"""Structured logs with the correlation id of the request or event at hand (W3C Trace Context)."""

import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars

# Version ff and ids of zeros are invalid.
TRACEPARENT = re.compile(
    "(?!ff)[0-9a-f]{2}-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module. The first argument of its methods is the event's name, `noun.happened`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def new_traceparent(*, sampled: bool = True) -> str:
    """A new trace: version 00, random ids; of one that is not `sampled` no spans are kept."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{sampled:02x}"


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id in a `traceparent` header, or None if it is not one (W3C Trace Context, section 3.2.2)."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    return found["trace_id"] if found else None


def current_traceparent() -> str | None:
    """The trace that the present request or event belongs to."""
    value = get_contextvars().get("traceparent")
    return str(value) if value else None


@contextmanager
def bound(**values: Any) -> Iterator[None]:
    """Every log line inside carries `values` (those that are not None)."""
    with bound_contextvars(**{name: value for name, value in values.items() if value is not None}):
        yield


def _trace_id_for_traceparent(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    if trace_id := trace_id_of(event.pop("traceparent", None)):
        event["trace_id"] = trace_id
    return event


def configure(*, level: str, style: str) -> None:
    """Send all logs of the process to standard error, as JSON lines or (`style="console"`) for people."""
    shared: list[Any] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_id_for_traceparent,
    ]
    renderer: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The richer formatter prints local variables, and so data and secrets.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if style == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Their INFO lines repeat ours, one a message or request.
    for noisy in ("penstock.bus", "uvicorn.access", "httpx", "aiormq", "aio_pika", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
