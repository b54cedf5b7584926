"""A DNS server for tests: scripted names on a loopback port, UDP and TCP, that counts what it is asked.

It answers as a resolver does: aliases are followed, what isn't there is denied with a SOA record. `tricks` make it
misbehave for one name and type.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Trick(StrEnum):
    """What a server can do wrong."""

    DROP = "drop"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    TRUNCATE = "truncate"
    """Over UDP cut off, over TCP whole."""
    CUT = "cut"
    """Over UDP cut off, over TCP closed in the middle."""
    LIES_FIRST = "lies first"
    """Replies with another id, to another question, and garbage; then the truth."""
    LIES = "lies"
    """The same without the truth."""
    REFERRAL = "referral"
    NO_EDNS = "no edns"
    """FORMERR to what has EDNS."""
    HALF_CHAIN = "half chain"
    """Only the first alias of a chain."""
    NO_SOA = "no soa"


Place = tuple[str, str]


@dataclass
class DnsServer:
    """A name server; use it as a context manager.

    Args:
        records: texts of records by name and type, e.g. ``{("example.com", "MX"): ("10 mx.example.com.",)}``.
        tricks: by name and type.
        ttl_s: of records.
        negative_s: of denials.
        host: where it listens.
    """

    records: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    tricks: dict[Place, Trick] = field(default_factory=dict)
    ttl_s: int = 300
    negative_s: int = 60
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.asked: Counter[Place] = Counter()
        self.over_tcp: Counter[Place] = Counter()
        self.ids: list[int] = []
        self.ports: list[int] = []
        self.gate = threading.Event()
        """Cleared, it keeps all answers back."""
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        """Released for each question."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._tcp = socket.create_server((self.host, 0), family=family)
        self.port = int(self._tcp.getsockname()[1])
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((self.host, self.port))

    @property
    def place(self) -> str:
        """Its address as DNS_Servers takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def option(self) -> str:
        """The line of a configuration that names it."""
        return f'DNS_Servers = ( "{self.place}" )\n'

    def __enter__(self) -> DnsServer:
        for loop in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=loop, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        for sock in (self._udp, self._tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # a datagram socket isn't connected; its receiver is woken all the same
            sock.close()

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, client = self._udp.recvfrom(4096)
            except OSError:
                return
            if not client:
                return  # shut down
            self.ports.append(client[1])
            threading.Thread(target=self._answer_udp, args=(wire, client), daemon=True).start()

    def _answer_udp(self, wire: bytes, client: tuple[str, int]) -> None:
        try:
            for reply in self.replies(wire, over_tcp=False):
                self._udp.sendto(reply, client)
        except OSError:
            pass  # the test is over

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_tcp, args=(sock,), daemon=True).start()

    def _answer_tcp(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as file:
            head = file.read(2)
            if len(head) < 2:
                return
            wire = file.read(struct.unpack("!H", head)[0])
            for reply in self.replies(wire, over_tcp=True):
                whole = struct.pack("!H", len(reply)) + reply
                sock.sendall(whole[: len(whole) // 2] if self._trick(wire) is Trick.CUT else whole)

    def _trick(self, wire: bytes) -> Trick | None:
        question = dns.message.from_wire(wire).question[0]
        return self.tricks.get(_place(question))

    def replies(self, wire: bytes, *, over_tcp: bool) -> list[bytes]:
        """What is sent back for a question."""
        query = dns.message.from_wire(wire)
        place = _place(query.question[0])
        (self.over_tcp if over_tcp else self.asked)[place] += 1
        self.ids.append(query.id)
        self.arrived.release()
        self.gate.wait(20)
        reply = dns.message.make_response(query, recursion_available=True)
        trick = self.tricks.get(place)
        match trick:
            case Trick.DROP:
                return []
            case Trick.SERVFAIL | Trick.REFUSED:
                reply.set_rcode(dns.rcode.from_text(trick.upper()))
                return [reply.to_wire()]
            case Trick.NO_EDNS if query.edns >= 0:
                reply = dns.message.make_response(query, recursion_available=True)
                reply.use_edns(False)
                reply.set_rcode(dns.rcode.FORMERR)
                return [reply.to_wire()]
            case Trick.TRUNCATE | Trick.CUT if not over_tcp:
                reply.flags |= dns.flags.TC
                return [reply.to_wire()]
            case Trick.REFERRAL:
                reply.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))
                return [reply.to_wire()]
            case Trick.LIES | Trick.LIES_FIRST:
                self.fill(reply, place, trick)
                return [*self._lies(query), *([reply.to_wire()] if trick is Trick.LIES_FIRST else [])]
        self.fill(reply, place, trick)
        return [reply.to_wire(max_size=65_535)]

    def fill(self, reply: dns.message.Message, place: Place, trick: Trick | None) -> None:
        """Put in what is known of a name and type."""
        name, kind = place
        for _ in range(8):
            alias = self.records.get((name, "CNAME"))
            if alias is None:
                break
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".").lower()
            if trick is Trick.HALF_CHAIN:
                return
        found = self.records.get((name, kind))
        if found:
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", kind, *found))
            return
        if not any(known == name or known.endswith("." + name) for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if trick is not Trick.NO_SOA:
            soa = f"ns.example. admin.example. 1 3600 600 86400 {self.negative_s}"
            reply.authority.append(dns.rrset.from_text("example.", self.negative_s, "IN", "SOA", soa))

    @staticmethod
    def _lies(query: dns.message.Message) -> list[bytes]:
        """Replies that nobody may believe; each names 192.0.2.66."""
        wrong_id = dns.message.make_response(query)
        wrong_id.id = query.id ^ 1
        other = dns.message.make_query("elsewhere.example.", "A", id=query.id)
        wrong_question = dns.message.make_response(other)
        for lie, name in ((wrong_id, query.question[0].name), (wrong_question, other.question[0].name)):
            for kind, text in (("A", "192.0.2.66"), ("MX", "0 evil.example.")):
                lie.answer.append(dns.rrset.from_text(name, 300, "IN", kind, text))
        return [wrong_id.to_wire(), wrong_question.to_wire(), query.to_wire(), b"\x00" * 3, wrong_id.to_wire()[:2] * 9]


def _place(question: dns.rrset.RRset) -> Place:
    return question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
