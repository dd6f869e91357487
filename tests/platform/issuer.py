"""An issuer of tokens as there are many: real keys, and a real HTTP server that publishes them."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example/realm"
SECRET = "a-secret-of-at-least-thirty-two-bytes"
AUDIENCE = "penstock"

# Made once: an RSA key takes a good part of a second.
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


def jwk(private: Any, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """The public half of a key as an issuer publishes it."""
    algorithm = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    public = {
        name: value
        for name, value in algorithm.to_jwk(private.public_key(), as_dict=True).items()
        if name != "key_ops"
    }
    return public | ({"kid": kid} if kid else {}) | members


def public_pem(private: Any) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a token that is right, with `changes`; None: without that claim."""
    right = {
        "iss": ISSUER,
        "sub": "me",
        "aud": AUDIENCE,
        "exp": datetime.now(UTC) + timedelta(days=1),  # tokens are made when tests are collected
        "tenant": "acme",
        "scope": "imports:read imports:write",
    }
    return {name: value for name, value in (right | changes).items() if value is not None}


def signed(
    key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", header: Any = None, **changes: Any
) -> str:
    headers = ({"kid": kid} if kid else {}) | (header or {})
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def put_together(header: Any, payload: Any, signature: bytes = b"") -> str:
    """A token of these parts, whatever they are."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_by_hand(header: Any, payload: Any) -> str:
    """A token that the EC key has signed, whatever its header says."""
    unsigned = put_together(header, payload).rpartition(".")[0]
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(unsigned.encode(), EC)
    return put_together(header, payload, signature)


class Issuer:
    """Publishes `keys` at `url`, or answers with `answer` if that is set, once `gate` is open. Counts requests."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk(RSA, "rsa"), jwk(EC, "ec")]
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.url = ""

    def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        self.gate.wait(10)
        return self.answer or (200, {"Content-Type": "application/json"}, self.document())

    def document(self) -> bytes:
        return json.dumps({"keys": self.keys}).encode()


@contextmanager
def published() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = issuer.respond(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that has seen enough hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
    try:
        yield issuer
    finally:
        issuer.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
