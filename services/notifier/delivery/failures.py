"""Why an attempt brought no answer, or not all of one, in words for the receiver's people. Pure."""

import os

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientPayloadError,
    ClientResponseError,
    ConnectionTimeoutError,
    ServerDisconnectedError,
)

_ANSWERS = (
    (ServerDisconnectedError, "the connection was closed without an answer"),
    (ClientPayloadError, "the answer broke off, or its body is malformed"),
    (ClientResponseError, "what came back is no HTTP answer, or its head is malformed or too long"),
)


def in_words(failure: Exception, *, connect_seconds: float, total_seconds: float) -> str:
    """One line about `failure`, which came from the client or from the guard of its targets."""
    if isinstance(failure, TimeoutError):
        early = isinstance(failure, ConnectionTimeoutError)
        return (
            f"no connection within {connect_seconds:g} s"
            if early
            else f"no complete answer within {total_seconds:g} s"
        )
    if isinstance(failure, ClientConnectorError):
        return _unconnected(failure)
    if isinstance(failure, OSError):
        return f"the connection broke: {_reason(failure)}"
    return next((words for kind, words in _ANSWERS if isinstance(failure, kind)), str(failure))


def _unconnected(failure: ClientConnectorError) -> str:
    cause = failure.__cause__ or failure
    if isinstance(failure, ClientConnectorCertificateError):
        return f"the certificate is not accepted: {getattr(cause, 'verify_message', cause)}"
    if isinstance(failure, ClientConnectorSSLError):
        reason = getattr(cause, "reason", None) or "the handshake failed"
        return f"no TLS connection: {reason.lower().replace('_', ' ')}"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return f"no connection: {_reason(cause)}"


def _reason(failure: BaseException) -> str:
    said = (getattr(failure, "strerror", None) or str(failure) or type(failure).__name__).lower()
    if "connect call failed" not in said:
        return said
    # The event loop's words, with the addresses that were dialled: not for people, and not for who asks what a name means
    # in our network.
    number = getattr(failure, "errno", None)
    return os.strerror(number).lower() if number else "none of the host's addresses can be reached"
