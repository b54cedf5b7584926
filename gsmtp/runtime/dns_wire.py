"""How questions and answers look on the wire, by dnspython; which replies count, and what they say. No I/O.

Source: RFC 1035 section 4, RFC 2308 (negative answers), RFC 5452 section 9 (which replies to believe), RFC 6891 (EDNS).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from gsmtp.runtime.dns_answers import Answer, Exchange, RecordType

_PAYLOAD_BYTES = 1232
"""Largest UDP reply that is asked for: one that no usual path cuts in pieces."""
_MOST_NEGATIVE_S = 10_800.0
"""RFC 2308 section 5: a negative answer is kept for three hours at the most."""
_MOST_TTL_S = 2**31 - 1
_MOST_LINKS = 16
_MOST_RECORDS = 100
"""Kept of an answer: whoever owns a domain may list thousands, and nobody needs them."""


class UselessReply(Exception):
    """A reply to our question that answers nothing: server failure, refusal, a referral. Another server may do better.

    Args:
        reason: what it said.
        without_edns: whether the same server should be asked again without EDNS (RFC 6891 section 7).
    """

    def __init__(self, reason: str, *, without_edns: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.without_edns = without_edns


@dataclass(frozen=True, slots=True)
class Found:
    """What a reply says.

    Args:
        answer: the answer, None when the reply ends with an alias whose name is to be asked for.
        alias: that name, in lower case.
        ttl_s: of the chain that led there.
    """

    answer: Answer | None
    alias: str = ""
    ttl_s: float = 0.0


class Question:
    """One question with a random id.

    Args:
        name: a domain name, absolute with or without the trailing dot.
        kind: what is asked for.
        edns: whether larger replies over UDP are offered to be taken.

    Raises:
        ValueError: no domain name.
    """

    def __init__(self, name: str, kind: RecordType, *, edns: bool = True) -> None:
        try:
            absolute = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise ValueError(f"'{name}' is no domain name: {error}") from error
        more = {"use_edns": 0, "payload": _PAYLOAD_BYTES} if edns else {"use_edns": False}
        self._query = dns.message.make_query(absolute, kind.value, id=secrets.randbelow(65_536), **more)
        self._kind = kind
        self.wire = self._query.to_wire()

    def is_answered_by(self, wire: bytes) -> bool:
        """Whether a datagram might be the reply: its id is ours. Cheap."""
        return len(wire) >= 12 and wire[:2] == self.wire[:2]  # a header (RFC 1035 section 4.1.1)

    def reply(self, wire: bytes) -> dns.message.Message | None:
        """The reply; None for what isn't one to this very question (RFC 5452 section 9.1)."""
        if not self.is_answered_by(wire):
            return None
        message: dns.message.Message | None
        try:
            message = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            message = self._head(wire)
        return message if message is not None and self._query.is_response(message) else None

    @staticmethod
    def _head(wire: bytes) -> dns.message.Message | None:
        """What can be read of a reply that was cut off: truncation leaves half records with some servers."""
        try:
            message = dns.message.from_wire(wire, question_only=True, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return None
        return message if message.flags & dns.flags.TC else None

    def read(self, message: dns.message.Message) -> Found:
        """What a reply says.

        Raises:
            UselessReply: nothing.
        """
        rcode = message.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            refuses_edns = rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)
            raise UselessReply(dns.rcode.to_text(rcode), without_edns=refuses_edns and self._query.edns >= 0)
        name = message.question[0].name
        records, name, ttl_s = self._follow(message, name)
        if records is not None:
            return Found(self._answer(records, min(ttl_s, records.ttl)))
        negative_s = _negative_ttl_s(message)
        if rcode == dns.rcode.NXDOMAIN:
            return Found(Answer(exists=False, ttl_s=min(ttl_s, negative_s or 0.0)))
        if name != message.question[0].name and negative_s is None:
            return Found(None, name.to_text(omit_final_dot=True).lower(), ttl_s)
        if negative_s is None and _is_referral(message):
            raise UselessReply("a referral: the server doesn't look names up for us")
        return Found(Answer(exists=True, ttl_s=min(ttl_s, negative_s or 0.0)))

    def _follow(
        self, message: dns.message.Message, name: dns.name.Name
    ) -> tuple[dns.rrset.RRset | None, dns.name.Name, float]:
        """The records, found along the aliases in the reply; the last name, and the least TTL on the way."""
        ttl_s = float(_MOST_TTL_S)
        wanted = dns.rdatatype.from_text(self._kind.value)
        for _ in range(_MOST_LINKS):
            records = message.get_rrset(message.answer, name, dns.rdataclass.IN, wanted)
            if records is not None:
                return records, name, ttl_s
            alias = message.get_rrset(message.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
            if alias is None:
                return None, name, ttl_s
            ttl_s = min(ttl_s, alias.ttl)
            name = alias[0].target
        raise UselessReply("a circle of aliases")

    def _answer(self, records: dns.rrset.RRset, ttl_s: float) -> Answer:
        if self._kind is RecordType.MX:
            found = {Exchange(one.preference, one.exchange.to_text(omit_final_dot=True).lower()) for one in records}
            exchanges = (Exchange(one.preference, "" if one.host == "." else one.host) for one in found)
            ordered = sorted(exchanges, key=lambda one: (one.preference, one.host))
            return Answer(exists=True, exchanges=tuple(ordered[:_MOST_RECORDS]), ttl_s=ttl_s)
        addresses = tuple(dict.fromkeys(one.address for one in records))
        return Answer(exists=True, addresses=addresses[:_MOST_RECORDS], ttl_s=ttl_s)


def is_truncated(message: dns.message.Message) -> bool:
    """Whether the server had more to say than fitted."""
    return bool(message.flags & dns.flags.TC)


def _negative_ttl_s(message: dns.message.Message) -> float | None:
    """How long "no" may be kept; None without the SOA record that says so (RFC 2308 section 5)."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min(float(rrset.ttl), float(rrset[0].minimum), _MOST_NEGATIVE_S)
    return None


def _is_referral(message: dns.message.Message) -> bool:
    """Whether the server only names others that might know (RFC 1034 section 4.3.1)."""
    is_own = bool(message.flags & dns.flags.AA)
    return not is_own and any(rrset.rdtype == dns.rdatatype.NS for rrset in message.authority)
