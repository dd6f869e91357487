"""Over TLS the vetted address is dialled, and the certificate must be the host's."""

import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.delivery.sender import Sender
from services.notifier.targets.guard import Guard
from services.notifier.targets.policy import TargetPolicy
from services.notifier.targets.resolver import Resolver
from tests.notifier.name_server import name_server
from tests.notifier.peer import CLOSE, Says, peer

x509 = pytest.importorskip("cryptography.x509")
HOST = "hook.example"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Makes a self-signed certificate of HOST that ends so many days from now; it and its key in one file."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    pem, unencrypted = serialization.Encoding.PEM, serialization.NoEncryption()

    def made(days):
        now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=30)).not_valid_after(
            now + timedelta(days=days)
        )
        names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
        signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        path = folder / f"{days}.pem"
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted)
        path.write_bytes(secret + signed.public_bytes(pem))
        return path

    return made


@asynccontextmanager
async def serving(certificate, *script, trusted=True):
    """A TLS receiver on loopback, the names that clients asked it for, and a sender that looks all names up there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    names = {name: ["127.0.0.1"] for name in (HOST, "other.example")}
    async with name_server(names) as server, peer(*script, tls=context) as receiver:
        guard = Guard(TargetPolicy(allow_private=True), Resolver([server.address]))
        sender = Sender(
            guard,
            tls=ssl.create_default_context(cafile=str(certificate)) if trusted else None,
            total_seconds=5,
        )
        yield receiver, asked, sender
        await sender.close()
        await guard.close()


@pytest.mark.parametrize("host", [HOST, f"{HOST}.", "HOOK.example"])
async def test_the_name_is_asked_for_and_checked(certificates, host):
    async with serving(certificates(1)) as (receiver, asked, sender):
        for _ in range(2):
            attempt = await sender.post(f"https://{host}:{receiver.port}/hook", {}, b"{}")
            assert (attempt.response_status, attempt.error) == (200, None)
        assert (asked, receiver.connections) == ([HOST], 1)
        assert receiver.header("host") == [f"{HOST}:{receiver.port}"]


@pytest.mark.parametrize(
    ("host", "days", "trusted", "error"),
    [
        ("other.example", 1, True, "Hostname mismatch, certificate is not valid for 'other.example'."),
        ("127.0.0.1", 1, True, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        (HOST, -1, True, "certificate has expired"),
        (HOST, 1, False, "self-signed certificate"),
    ],
)
async def test_a_certificate_that_is_not_the_hosts_or_not_trusted_is_refused(
    certificates, host, days, trusted, error
):
    async with serving(certificates(days), trusted=trusted) as (receiver, _, sender):
        attempt = await sender.post(f"https://{host}:{receiver.port}/hook", {}, b"{}")
        assert (attempt.response_status, attempt.error) == (None, f"the certificate is not accepted: {error}")
        assert receiver.heads == []


async def test_a_connection_that_was_closed_meanwhile_costs_no_attempt(certificates):
    async with serving(certificates(1), Says(), Says(b"", CLOSE)) as (receiver, _, sender):
        for _ in range(2):
            assert (await sender.post(f"https://{HOST}:{receiver.port}/hook", {}, b"{}")).succeeded
        assert (receiver.connections, len(receiver.bodies)) == (2, 3)


async def test_a_receiver_without_tls(certificates):
    async with serving(certificates(1)) as (_, __, sender), peer() as plain:
        plain.serve = _says_something_else
        attempt = await sender.post(f"https://127.0.0.1:{plain.port}/", {}, b"{}")
    assert (attempt.response_status, attempt.error) == (None, "no TLS connection: wrong version number")


async def _says_something_else(_, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()
