"""One attempt: a POST to a vetted address, and what came back.

One client serves all endpoints; how much of it one of them may use is the lanes' affair. It follows no redirect, keeps
no cookie, reads no proxy or password from the environment and unpacks nothing.
"""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from ipaddress import ip_address

from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.notifier.delivery.answers import KEPT_BYTES, Answer, seconds_to_wait
from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.connections import BoundedConnector
from services.notifier.delivery.failures import in_words
from services.notifier.targets.errors import TargetRefused
from services.notifier.targets.guard import Guard
from shared.platform.logs import get_logger

TOTAL_SECONDS = 15.0  # Standard Webhooks 1.0 recommends 15 to 30
CONNECT_SECONDS = 5.0  # the look-up of the host and TLS with it
IDLE_SECONDS = 15.0  # a connection is kept open; many receivers close it after 60, some after 5
HEAD_BYTES = 32 * 1024  # for a line of an answer's head; some set cookies beyond aiohttp's 8 kB

# Headers are those that are given; what the client would add says something about us, not about the delivery.
_NONE_OF_ITS_OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_dials: ContextVar[list[object]] = ContextVar("dials")  # the addresses dialled for the present request

log = get_logger(__name__)


class Sender:
    """Sends attempts to wherever `guard` lets them go.

    Args:
        tls: For https; by default certificates are checked against the system's trust store.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        tls: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._guard = guard
        self._tls = tls or ssl.create_default_context()
        self._total_seconds = total_seconds
        self._connect_seconds = connect_seconds
        self._session: ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send once. Never raises for what the receiver or the network does: that is in the returned attempt."""
        attempted_at, start = datetime.now(UTC), time.monotonic()
        answer, error = Answer(), None
        try:
            async with asyncio.timeout(self._total_seconds):
                await self._exchange(self._guard.target(url), headers, body, answer)
        except (ClientError, OSError, TargetRefused, ValueError) as failure:  # TimeoutError is an OSError
            error = in_words(
                failure, connect_seconds=self._connect_seconds, total_seconds=self._total_seconds
            )
        except Exception:
            # A fault of ours must count as an attempt too, or it would be tried without end.
            log.exception("delivery.attempt_crashed")
            error = "internal error"
        return Attempt(
            attempted_at=attempted_at,
            latency_ms=round((time.monotonic() - start) * 1000),
            response_status=answer.status,
            response_body=answer.text(),
            error=error,
            retry_after=answer.retry_after,
        )

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session:
            await session.close()

    async def _exchange(self, target: URL, headers: Mapping[str, str], body: bytes, answer: Answer) -> None:
        """Send, and once more if the connection was kept from before and its other end had closed it meanwhile.

        A receiver that closes an idle connection must not cost an attempt. Whether it read the request nobody can
        know; that it is sent twice then is right, as deliveries are made at least once, with the same `webhook-id`.
        """
        dials: list[object] = []
        _dials.set(dials)
        if self._session is None:  # made here, as it belongs to the event loop that runs
            self._session = self._client()
        try:
            await _post(self._session, target, headers, body, answer)
        except (ServerDisconnectedError, ClientOSError) as failure:
            if dials or answer.status is not None or not _is_silent(failure):
                raise
            async with self._client(force_close=True) as fresh:
                await _post(fresh, target, headers, body, answer)

    def _client(self, *, force_close: bool = False) -> ClientSession:
        connector = BoundedConnector(
            resolver=_Vetted(self._guard),
            socket_factory=self._dialled,
            ssl=self._tls,
            use_dns_cache=False,  # the guard looks at every dial; the name server's answers are kept as they allow
            limit=0,
            force_close=force_close,
            keepalive_timeout=None if force_close else IDLE_SECONDS,
        )
        return ClientSession(
            connector=connector,
            timeout=ClientTimeout(total=None, connect=self._connect_seconds),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_NONE_OF_ITS_OWN,
            read_bufsize=KEPT_BYTES,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
        )

    def _dialled(self, info: AddrInfoType) -> socket.socket:
        """The socket for a connection. All that is dialled comes by here: what was not vetted before is stopped."""
        family, kind, protocol, _, address = info
        if not self._guard.policy.permits(ip_address(address[0])):
            raise PermissionError(errno.EACCES, "webhooks may not go there")
        _dials.get().append(address)
        return socket.socket(family, kind, protocol)


class _Vetted(AbstractResolver):
    """The guard, as the client asks for the addresses of a name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.addresses(host)
        ]

    async def close(self) -> None:
        """Nothing to close: the guard is others' too."""


def _is_silent(failure: ServerDisconnectedError | ClientOSError) -> bool:
    """Whether the other end closed the connection and, as far as can be seen, no byte of an answer came before."""
    if isinstance(failure, ServerDisconnectedError):
        return isinstance(failure.message, str)  # else it is what there was of an answer's head
    return not isinstance(failure, ClientConnectorError)


async def _post(
    session: ClientSession, target: URL, headers: Mapping[str, str], body: bytes, answer: Answer
) -> None:
    async with session.post(target, data=body, headers=headers, allow_redirects=False) as response:
        answer.status = response.status
        answer.retry_after = seconds_to_wait(response.headers.get("Retry-After"), datetime.now(UTC))
        async for chunk in response.content.iter_any():
            answer.body += chunk
            if answer.is_enough:
                break
