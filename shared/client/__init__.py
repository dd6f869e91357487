"""The Python client of Penstock's HTTP API: its calls, and what pipelines report their errors with."""

from shared.client.client import ENDED, Json, PenstockClient
from shared.client.default_log import log_investigation_event, log_investigation_event_async
from shared.client.errors import ClientError, Refused, Unreachable
from shared.client.files import described_file
from shared.client.investigation_log import InvestigationLog
from shared.client.logging_handler import InvestigationHandler
from shared.client.reporting import reporting

__all__ = [
    "ENDED",
    "ClientError",
    "InvestigationHandler",
    "InvestigationLog",
    "Json",
    "PenstockClient",
    "Refused",
    "Unreachable",
    "described_file",
    "log_investigation_event",
    "log_investigation_event_async",
    "reporting",
]
