"""Over TLS the vetted address is dialled, and the certificate must be the host's."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.notifier.sender import Sender
from tests.notifier.receiver import Receiver

x509 = pytest.importorskip("cryptography.x509")
HOST = "hook.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of HOST, with its key, in one file."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "hook.pem"
    pem, unencrypted = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted)
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@asynccontextmanager
async def serving(certificate):
    """A TLS receiver on loopback, the names that clients asked it for, and a sender that trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    sender = Sender(
        allow_private=True, resolve=resolve, tls=ssl.create_default_context(cafile=str(certificate))
    )
    try:
        yield receiver, asked, sender
    finally:
        await sender.close()
        server.close()
        await asyncio.sleep(0.05)  # lets the connections' tasks see their end


async def test_the_name_is_asked_for_and_checked(certificate):
    async with serving(certificate) as (receiver, asked, sender):
        attempt = await sender.post(uuid4(), f"https://{HOST}:{receiver.port}/hook", {}, b"{}")
        assert (attempt.response_status, attempt.error) == (200, None)
        assert asked == [HOST]
        assert receiver.received[0].headers["host"] == f"{HOST}:{receiver.port}"


async def test_a_certificate_of_another_host_is_refused(certificate):
    async with serving(certificate) as (receiver, asked, sender):
        attempt = await sender.post(uuid4(), f"https://other.example:{receiver.port}/hook", {}, b"{}")
        assert attempt.response_status is None
        assert "certificate" in (attempt.error or "")
        assert (asked, receiver.received) == (["other.example"], [])
