"""Errors to Sentry, where PENSTOCK_SENTRY_DSN says so: what is logged with a traceback. No bodies, no local variables."""

import logging
from typing import Any

import sentry_sdk

TAGS = ("service", "tenant", "event_type", "queue", "trace_id")


def configure(dsn: str, *, environment: str, release: str, service: str) -> None:
    """Send from now on, in the background. What Sentry does not take within 2 s of the end is lost."""
    sentry_sdk.init(
        dsn,
        environment=environment,
        release=release,
        server_name=service,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        send_default_pii=False,
        max_breadcrumbs=0,
        shutdown_timeout=2,
    )
    sentry_sdk.get_global_scope().set_tag("service", service)
    logging.getLogger().addHandler(_Sending(logging.ERROR))


class _Sending(logging.Handler):
    """Sends the exceptions of log lines, with the ids that the line has."""

    def emit(self, record: logging.LogRecord) -> None:
        if not (record.exc_info and record.exc_info[1]):
            return
        line: dict[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("event", str(line.get("event")))
            for tag in TAGS:
                if value := line.get(tag):
                    scope.set_tag(tag, str(value))
            sentry_sdk.capture_exception(record.exc_info)
