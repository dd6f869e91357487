"""One attempt: a POST to the vetted address, and what came back. Keeps a small connection pool for each endpoint.

It speaks to httpx's transport, not to its client: so there are no redirects, cookies, environment proxies or
stored credentials to switch off.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import httpx

from services.notifier.attempts import Attempt
from services.notifier.guard import Resolve, TargetRefused, parsed, vetted_address
from shared.platform.logs import get_logger

TOTAL_SECONDS = 15.0  # Standard Webhooks 1.0 recommends 15 to 30
CONNECT_SECONDS = 5.0
KEPT_BYTES = 16 * 1024  # of a response's body
LANE_SIZE = 5  # connections; httpx's pool is fastest at about 5 and degrades beyond
IDLE_SECONDS = 60.0

log = get_logger(__name__)


@dataclass
class _Lane:
    transport: httpx.AsyncHTTPTransport
    used_at: float = field(default_factory=time.monotonic)
    in_flight: int = 0


class Sender:
    """Sends attempts. An endpoint's connections are its own, so that none of them waits for another's."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve,
        tls: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._total_seconds = total_seconds
        self._connect_seconds = connect_seconds
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._lanes: dict[tuple[UUID, str], _Lane] = {}

    async def post(self, endpoint_id: UUID, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send once. Never raises for what the receiver or the network does: that is in the returned attempt."""
        lane = self._lane(endpoint_id, url)
        lane.in_flight += 1
        try:
            return await self._attempt(lane.transport, endpoint_id, url, headers, body)
        finally:
            lane.in_flight -= 1
            lane.used_at = time.monotonic()

    async def close_idle(self) -> None:
        """Close the connections of endpoints that were sent nothing for a minute."""
        limit = time.monotonic() - IDLE_SECONDS
        for key, lane in list(self._lanes.items()):
            if not lane.in_flight and lane.used_at < limit:
                del self._lanes[key]
                await lane.transport.aclose()

    async def close(self) -> None:
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.transport.aclose()

    def _lane(self, endpoint_id: UUID, url: str) -> _Lane:
        # The pool tells connections apart by address, not by the name in the certificate: hence the URL in the key.
        lane = self._lanes.get((endpoint_id, url))
        if lane is None:
            limits = httpx.Limits(max_connections=LANE_SIZE, max_keepalive_connections=LANE_SIZE)
            lane = _Lane(httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits))
            self._lanes[endpoint_id, url] = lane
        return lane

    async def _attempt(
        self,
        transport: httpx.AsyncHTTPTransport,
        endpoint_id: UUID,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Attempt:
        attempted_at, start = datetime.now(UTC), time.monotonic()
        received, error = _Received(), None
        try:
            async with asyncio.timeout(self._total_seconds):
                request = await self._request(url, headers, body)
                await _exchange(transport, request, received)
        except httpx.ConnectTimeout:
            error = f"no connection within {self._connect_seconds:g} s"
        except (TimeoutError, httpx.TimeoutException):
            error = f"no complete answer within {self._total_seconds:g} s"
        except httpx.TransportError as failure:
            error = f"{type(failure).__name__}: {failure}"
        except (TargetRefused, ValueError) as failure:
            error = str(failure)
        except Exception:
            # A fault of ours must count as an attempt too, or it would be tried without end.
            log.exception("delivery.attempt_crashed", endpoint_id=str(endpoint_id))
            error = "internal error"
        return Attempt(
            attempted_at=attempted_at,
            latency_ms=round((time.monotonic() - start) * 1000),
            response_status=received.status,
            response_body=received.text(),
            error=error,
        )

    async def _request(self, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Request:
        target = parsed(url)
        address = await vetted_address(target, allow_private=self._allow_private, resolve=self._resolve)
        timeout = httpx.Timeout(self._total_seconds, connect=self._connect_seconds)
        host = target.raw_host.decode("ascii").rstrip(".")
        return httpx.Request(
            "POST",
            target.copy_with(host=address),
            headers={**headers, "Host": target.netloc.decode("ascii")},
            content=body,
            extensions={"timeout": timeout.as_dict(), "sni_hostname": host},
        )


@dataclass
class _Received:
    """Filled while the response comes in, so that a body that never ends does not hide the status before it."""

    status: int | None = None
    body: bytearray = field(default_factory=bytearray)

    def text(self) -> str | None:
        if self.status is None:
            return None
        # PostgreSQL's text holds no NUL.
        return self.body[:KEPT_BYTES].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


async def _exchange(transport: httpx.AsyncHTTPTransport, request: httpx.Request, received: _Received) -> None:
    response = await transport.handle_async_request(request)
    try:
        received.status = response.status_code
        async for chunk in response.aiter_raw():  # raw: a compressed body could unpack to anything
            received.body += chunk
            if len(received.body) >= KEPT_BYTES:
                break
    finally:
        await response.aclose()
