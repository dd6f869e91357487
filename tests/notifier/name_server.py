"""A name server on loopback, by UDP: gives the answers it is told, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.name import Name


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """A zone of all the world; names that are not in it do not exist.

    Attributes:
        addresses: Of each name: one list of addresses for each time it is asked; the last one holds for ever.
        aliases: CNAME records; what they lead to is in the answer too.
        silent: Nothing is answered.
        asked: Names, in the order in which their IPv4 addresses were asked for.
    """

    addresses: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    ttl: int = 0
    silent: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        if question.rdtype == dns.rdatatype.A:
            self.asked.append(_text(question.name))
        if not self.silent:
            self._transport.sendto(self._answer(query).to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        answer, (question,) = dns.message.make_response(query), query.question
        name = _text(question.name)
        if target := self.aliases.get(name):
            answer.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{target}."))
            name = target
        if name not in self.addresses:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer
        kind = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        found = [one for one in self._now(name) if ip_address(one).version == kind]
        if found:
            answer.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", question.rdtype, *found))
        return answer

    def _now(self, name: str) -> Sequence[str]:
        rounds = self.addresses[name]
        return rounds[min(max(self.asked.count(name), 1), len(rounds)) - 1]


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


@asynccontextmanager
async def name_server(
    addresses: Mapping[str, Sequence[str]] | None = None, **told: object
) -> AsyncIterator[NameServer]:
    """A running name server with one unchanging list of addresses for each name."""
    server = NameServer(addresses={name: [found] for name, found in (addresses or {}).items()}, **told)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
