"""Errors that a pipeline logs anyway, as investigation events."""

import logging
from typing import Any

from shared.client.default_log import default_log
from shared.client.investigation_event import Severity, reason_of, with_trace
from shared.client.investigation_log import InvestigationLog, is_sending

UNNAMED_REASON = "unexpected"  # of the catalogue of reasons
OURS = ("shared.client", "httpx", "httpcore")  # what sending says of itself must not be sent


class InvestigationHandler(logging.Handler):
    """Makes an event of each record from `level` on. It neither raises nor waits for Penstock.

    The reason is the record's `reason` (`logger.error("…", extra={"reason": "file_missing"})`), or its exception's class
    (`FileNotFoundError` as `file_not_found_error`), or `unexpected`. The record's `supplier`, `file`, `fingerprint` and
    `stage` go before what is said here. The summary is the message.
    """

    def __init__(
        self,
        *,
        stage: str,
        supplier: str | None = None,
        level: int | str = logging.ERROR,
        log: InvestigationLog | None = None,
    ) -> None:
        """`log`: where to; default: as the environment says."""
        super().__init__(level)
        self._stage = stage
        self._supplier = supplier
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if is_sending() or any(record.name == name or record.name.startswith(f"{name}.") for name in OURS):
            return
        try:
            (self._log or default_log()).log(
                stage=getattr(record, "stage", None) or self._stage,
                supplier=getattr(record, "supplier", None) or self._supplier,
                reason=_reason(record),
                severity=_severity(record.levelno),
                summary=record.getMessage(),
                file=getattr(record, "file", None),
                fingerprint=getattr(record, "fingerprint", None),
                extra=_extra(record),
            )
        except Exception:  # noqa: BLE001 - as every handler: a message that cannot be formatted is no reason to end
            self.handleError(record)


def _reason(record: logging.LogRecord) -> str:
    if named := getattr(record, "reason", None):
        return str(named)
    error = record.exc_info[0] if record.exc_info else None
    return reason_of(error) if error else UNNAMED_REASON


def _severity(level: int) -> Severity:
    if level >= logging.CRITICAL:
        return "critical"
    if level >= logging.ERROR:
        return "error"
    return "warning" if level >= logging.WARNING else "info"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    where = {"logger": record.name, "line": f"{record.pathname}:{record.lineno}"}
    error = record.exc_info[1] if record.exc_info else None
    return with_trace(where, error) if error else where
