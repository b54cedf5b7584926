"""Which addresses a hop comes to, in the order in which they are to be tried.

MX hosts by preference, those of equal preference in random order (RFC 5321 section 5.1); no MX record, and the domain's
own address counts; our own name or address among the MX hosts ends the list there, so that mail doesn't come back to
us. What is temporary and what is permanent: a domain that doesn't exist, that takes no mail (RFC 7505) or whose mail is
ours is refused for good; whatever a name server may answer otherwise later is not. Hosts that the configuration names
are the operator's affair: their mail always waits.

Source: reference/policy-and-context.md section 5.
"""

from __future__ import annotations

import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from gsmtp.config.option import OPTIONS
from gsmtp.config.view import View
from gsmtp.core.address import Endpoint, Network
from gsmtp.core.domains import DomainPatterns, normal_domain
from gsmtp.delivery.hops import Hop, Lookup, is_address
from gsmtp.delivery.mx_options import (
    MX_FAILURES_FALLBACK_TO_A,
    ONLY_USE_BEST_MX_FOR_RELAY_DOMAINS,
    PROHIBITED_HOSTS,
    SKIP_HOSTS,
    USE_IPV6,
)
from gsmtp.runtime.dns_answers import Answer, Exchange, LookupFailed
from gsmtp.smtp.options import HOSTNAME

NO_ADDRESS = "454 4.4.4 [internal] no MX or A for domain"
LOOKUP_FAILED = "554 5.4.4 [internal] Domain Lookup Failed"
NULL_MX = "550 5.4.4 [internal] NULL MX domain does not accept mail"
PROHIBITED = "551 5.4.6 [internal] Private/Loopback Address"
LOOP = "554 5.4.6 [internal] mail loops back to this host"
SKIPPED = "451 4.4.1 [internal] No valid hosts (unable to make any connections)"

_MOST_HOSTS = 20
"""MX hosts whose addresses are looked up, the best ones."""
_MOST_ADDRESSES = 20
"""Addresses tried in one attempt: each may take Connect_Timeout."""
_RELAY_LISTS = ("relay_domains", "bounce_domains")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to.

    Args:
        name: the host's name, for its certificate and for people; its IP address where it has no name.
        ip: IPv4 or IPv6 address without brackets.
        port: 1 to 65,535.
        preference: of its MX record, or of its route.
    """

    name: str
    ip: str
    port: int
    preference: int = 0

    def __str__(self) -> str:
        place = f"[{self.ip}]" if ":" in self.ip or self.name != self.ip else self.ip
        return f"{place}:{self.port}" if self.name == self.ip else f"{self.name}{place}:{self.port}"


class Unresolved(Exception):
    """A hop comes to no address.

    Args:
        text: an ``[internal]`` text that begins with a code.
        detail: what was found, with the name.
        temporary: whether that may change.
    """

    def __init__(self, text: str, detail: str, *, temporary: bool = True) -> None:
        super().__init__(f"{text}: {detail}")
        self.text = text
        self.detail = detail
        self.temporary = temporary


class Names(Protocol):
    """Who looks names up (`runtime.dns.Resolver`)."""

    def exchanges(self, name: str) -> Answer:
        """MX records. Raises LookupFailed."""

    def addresses(self, name: str, *, ipv6: bool) -> Answer:
        """IP addresses. Raises LookupFailed."""

    def is_local(self, name: str) -> bool:
        """Whether DNS isn't asked for it. Raises LookupFailed."""

    def candidates(self, name: str) -> tuple[str, ...]:
        """The names that a name of the configuration may stand for. Raises LookupFailed."""

    def ask_ahead(self, hosts: Iterable[str], *, ipv6: bool) -> None:
        """Begin to look addresses up."""


@dataclass(slots=True)
class _Findings:
    """What came of the hosts of a domain."""

    found: list[Address] = field(default_factory=list)
    prohibited: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_own: bool = False


class HopResolver:
    """Finds addresses. Waits in the calling green thread.

    Args:
        names: looks names up.
        hostname: what the system calls itself.
        chooser: spreads the load.
        is_here: whether an IP address is one of this machine's.
    """

    def __init__(
        self,
        names: Names,
        hostname: str,
        chooser: random.Random | None = None,
        is_here: Callable[[str], bool] | None = None,
    ) -> None:
        self._names = names
        self._hostname = hostname
        self._chooser = chooser or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._is_here = is_here or is_local_address
        self._endpoints: frozenset[tuple[str, int]] = frozenset()
        self._open_ports: frozenset[tuple[str, int]] = frozenset()

    def listen_at(self, endpoints: Iterable[Endpoint]) -> None:
        """Where this server takes mail itself from now on."""
        known = [one for one in endpoints if one.family != "unix" and one.port]
        wild = [one for one in known if ipaddress.ip_address(one.host).is_unspecified]
        self._endpoints = frozenset((one.host, one.port) for one in known)
        self._open_ports = frozenset((one.family, one.port) for one in wild)

    def addresses(self, hop: Hop, view: View) -> list[Address]:
        """The addresses to try, at least one, the best first.

        Args:
            hop: of a route.
            view: the options of the recipients' domain.

        Raises:
            Unresolved: there are none.
        """
        try:
            match hop.lookup:
                case Lookup.MX if is_address(hop.host):
                    return self._of_literal(hop, view)
                case Lookup.MX:
                    return self._of_domain(hop, view)
                case _ if is_address(hop.host):
                    return [Address(hop.host, hop.host, hop.port, hop.preference)]
                case Lookup.GATEWAY:
                    return self._of_gateway(hop, view)
                case _:
                    return self._of_host(hop, view)
        except LookupFailed as error:
            raise Unresolved(NO_ADDRESS, error.reason) from error

    def host_addresses(self, host: str) -> list[str]:
        """All IP addresses of a host that takes mail otherwise than by SMTP, IPv4 first. Raises Unresolved."""
        try:
            for name in self._names.candidates(host):
                found = list(self._names.addresses(name, ipv6=True).addresses)
                if found:
                    self._chooser.shuffle(found)
                    return sorted(found, key=lambda ip: ":" in ip)
        except LookupFailed as error:
            raise Unresolved(NO_ADDRESS, error.reason) from error
        raise Unresolved(NO_ADDRESS, f"{host} has no address")

    # A host that the configuration names.

    def _of_host(self, hop: Hop, view: View) -> list[Address]:
        for name in self._names.candidates(hop.host):
            found = self._at(name, hop, hop.preference, view)
            if found:
                return found
        raise Unresolved(NO_ADDRESS, f"{hop.host} has no address")

    def _of_gateway(self, hop: Hop, view: View) -> list[Address]:
        for name in self._names.candidates(hop.host):
            if not self._names.is_local(name):
                answer = self._names.exchanges(name)
                exchanges = [one for one in answer.exchanges if one.host]
                if exchanges:
                    try:
                        return self._of_exchanges(exchanges, hop, view)
                    except Unresolved as error:
                        raise Unresolved(NO_ADDRESS, error.detail) from error
                if not answer.exists:
                    continue
            found = self._at(name, hop, hop.preference, view)
            if found:
                return found
        raise Unresolved(NO_ADDRESS, f"{hop.host} has neither MX nor address")

    # A domain that mail is for.

    def _of_literal(self, hop: Hop, view: View) -> list[Address]:
        address = Address(hop.host, hop.host, hop.port, hop.preference)
        if self._is_own(address):
            raise Unresolved(LOOP, f"{address} is this server", temporary=False)
        findings = _Findings()
        self._sort_out([address], view, findings)
        return self._judge(hop, findings)

    def _of_domain(self, hop: Hop, view: View) -> list[Address]:
        implicit = [Exchange(0, hop.host)]
        try:
            answer = self._names.exchanges(hop.host)
        except LookupFailed as error:
            most = view[MX_FAILURES_FALLBACK_TO_A]
            if not most or error.failures < most:
                raise
            return self._of_exchanges(implicit, hop, view)
        if not answer.exists:
            raise Unresolved(LOOKUP_FAILED, f"{hop.host} does not exist", temporary=False)
        exchanges = [one for one in answer.exchanges if one.host]
        if answer.exchanges and not exchanges:
            raise Unresolved(NULL_MX, hop.host, temporary=False)
        return self._of_exchanges(exchanges or implicit, hop, view)

    def _of_exchanges(self, exchanges: Sequence[Exchange], hop: Hop, view: View) -> list[Address]:
        ordered = sorted(exchanges, key=lambda one: one.preference)
        findings = _Findings()
        own_names = {normal_domain(name) for name in (view[HOSTNAME], self._hostname) if name}
        own = next((one.preference for one in ordered if one.host in own_names), None)
        if own is not None:
            findings.is_own = True
            ordered = [one for one in ordered if one.preference < own]
        best_only = view[ONLY_USE_BEST_MX_FOR_RELAY_DOMAINS]
        if ordered and best_only and _is_relay_domain(view, hop.host):
            ordered = [one for one in ordered if one.preference == ordered[0].preference]
        ordered = ordered[:_MOST_HOSTS]
        self._names.ask_ahead((one.host for one in ordered), ipv6=view[USE_IPV6])
        for _, group in groupby(ordered, key=lambda one: one.preference):
            if not self._level(list(group), hop, view, findings) or len(findings.found) >= _MOST_ADDRESSES:
                break
        return self._judge(hop, findings)

    def _level(self, exchanges: list[Exchange], hop: Hop, view: View, findings: _Findings) -> bool:
        """Hosts of equal preference; False when one of them is this server, which ends the list before them."""
        self._chooser.shuffle(exchanges)
        level: list[Address] = []
        for one in exchanges:
            try:
                found = self._at(one.host, hop, one.preference, view)
            except LookupFailed as error:
                findings.failures.append(error.reason)
                continue
            if any(self._is_own(address) for address in found):
                findings.is_own = True
                return False
            if not found:
                findings.failures.append(f"{one.host} has no address")
            level += found
        self._sort_out(level, view, findings)
        return True

    def _at(self, name: str, hop: Hop, preference: int, view: View) -> list[Address]:
        """A host's addresses: those of each family in random order, IPv6 first."""
        listed = list(self._names.addresses(name, ipv6=view[USE_IPV6]).addresses)
        self._chooser.shuffle(listed)
        listed.sort(key=lambda ip: ":" not in ip)
        return [Address(name, ip, hop.port, preference) for ip in listed]

    def _sort_out(self, addresses: Iterable[Address], view: View, findings: _Findings) -> None:
        prohibited, skipped = view[PROHIBITED_HOSTS], view[SKIP_HOSTS]
        for address in addresses:
            if _is_in(address.ip, prohibited):
                findings.prohibited.append(str(address))
            elif _is_in(address.ip, skipped):
                findings.skipped.append(str(address))
            else:
                findings.found.append(address)

    def _judge(self, hop: Hop, findings: _Findings) -> list[Address]:
        if findings.found:
            return findings.found[:_MOST_ADDRESSES]
        if findings.failures:
            raise Unresolved(NO_ADDRESS, f"{hop.host}: {'; '.join(findings.failures[:5])}")
        if findings.prohibited:
            raise Unresolved(PROHIBITED, f"{hop.host}: {', '.join(findings.prohibited[:5])}", temporary=False)
        if findings.is_own:
            raise Unresolved(LOOP, f"{hop.host} has this server as its best MX", temporary=False)
        raise Unresolved(SKIPPED, f"{hop.host}: {', '.join(findings.skipped[:5])} to be skipped")

    def _is_own(self, address: Address) -> bool:
        family = "inet6" if ":" in address.ip else "inet"
        if (address.ip, address.port) in self._endpoints:
            return True
        return (family, address.port) in self._open_ports and self._is_here(address.ip)


def is_local_address(ip: str) -> bool:
    """Whether an IP address is one of this machine's: what is sent there would come from that very address.

    Nothing is sent. (Binding to it would tell as well, but for ``net.ipv4.ip_nonlocal_bind``.)
    """
    address = ipaddress.ip_address(ip)
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((ip, 9))
            return bool(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address)
        except OSError:
            return False


def _is_in(ip: str, networks: Sequence[Network]) -> bool:
    if not networks:
        return False
    address = ipaddress.ip_address(ip)
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks if network.version == address.version)


def _is_relay_domain(view: View, domain: str) -> bool:
    """Whether the global scope lists a domain (policy declares these options, and is no part of delivery)."""
    for name in _RELAY_LISTS:
        option: Any = OPTIONS.find("global", name)
        patterns = view[option] if option is not None else None
        if isinstance(patterns, DomainPatterns) and patterns.matches(domain):
            return True
    return False
