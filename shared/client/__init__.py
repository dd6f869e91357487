"""The Python client of Penstock's HTTP API."""

from shared.client.client import ENDED, Json, PenstockClient
from shared.client.errors import ClientError, Refused, Unreachable

__all__ = ["ENDED", "ClientError", "Json", "PenstockClient", "Refused", "Unreachable"]
