"""Hands mail on by ESMTP or SMTP: connects to the first address that is there, or takes a connection that is open.

A hop that can't be reached, or doesn't greet well, makes way for the next; once a hop took part in the transaction its
answers count. A connection that was kept open and turns out dead before the hop answered anything is replaced at once.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence

from gsmtp.config.view import View
from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.client import Mode
from gsmtp.delivery.connection import NO_VALID_HOSTS, Connection, HopUnreachable, Limits
from gsmtp.delivery.hops import Hop, spread
from gsmtp.delivery.mx_options import HOST_FAILURE_RETRY
from gsmtp.delivery.options import DELIVERY_METHOD, EHLO_HOSTNAME, IDLE_TIMEOUT, MAX_DELIVERIES_PER_CONNECTION
from gsmtp.delivery.resolve import Address, Unresolved
from gsmtp.delivery.transport import Job, NoHopReachable, Outcome, Tools, Transport, transport
from gsmtp.smtp.options import HOSTNAME

REQUIRETLS_NEEDED = "550 5.7.30 [internal] REQUIRETLS support required, and mail is handed on in clear text only"


@transport("smtp")
class SmtpTransport(Transport):
    """ESMTP and SMTP, as `Delivery_Method` says.

    Args:
        tools: of the process.
    """

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._chooser = random.Random()  # noqa: S311 - spreads load, guards nothing

    def mode(self, view: View) -> Mode:
        """How to speak."""
        return Mode.SMTP if view[DELIVERY_METHOD] == "SMTP" else Mode.ESMTP

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`.

        Raises:
            NoHopReachable: no hop could be connected to.
            DeliveryError: the message is to go over TLS only, or the domain takes no mail.
        """
        view, hops = job.view, job.hops
        if job.envelope.requires_tls:
            hops = self._trusted(hops, self.mode(view))
        limits = Limits.of(view)
        mode, hello_name = self.mode(view), self._hello_name(view)
        troubles: list[HopUnreachable | Unresolved] = []
        for hop in self._addresses(hops, view, troubles):
            down = self.tools.health.reason(hop)
            if down and not RetryPolicy.of(view).tries_once:
                troubles.append(HopUnreachable(down, f"{hop} was not reached just now"))
                continue
            key = (mode, hop.name, hop.ip, hop.port, hello_name)
            connection = self.tools.connections.take(key)
            if isinstance(connection, Connection):
                outcomes = connection.deliver(job, limits, self.tools.native)
                if connection.client.has_answer or not connection.client.is_closed:
                    self._keep(key, connection, view)
                    return outcomes
            try:
                connection = Connection.open(hop, mode, hello_name, limits, self.tools.connect)
            except HopUnreachable as error:
                self.tools.health.failed(hop, error.text, view[HOST_FAILURE_RETRY])
                troubles.append(error)
                continue
            self.tools.health.worked(hop)
            outcomes = connection.deliver(job, limits, self.tools.native)
            self._keep(key, connection, view)
            return outcomes
        raise _undelivered(troubles)

    def _trusted(self, hops: Sequence[Hop], mode: Mode) -> Sequence[Hop]:
        """The hops that a message with REQUIRETLS may go to: with no TLS, only a mail store on this very host.

        Raises DeliveryError when there is none (RFC 8689 section 4.2.1).
        """
        found = [hop for hop in hops if mode is Mode.LMTP and _is_loopback(hop.host)]
        if not found:
            raise DeliveryError(REQUIRETLS_NEEDED, temporary=False)
        return found

    def _addresses(
        self, hops: Sequence[Hop], view: View, troubles: list[HopUnreachable | Unresolved]
    ) -> Iterator[Address]:
        """By preference; addresses that are backed off from come last. Names are looked up when it is their turn."""
        down: list[Address] = []
        for hop in spread(hops, self._chooser):
            try:
                found = self.tools.resolver.addresses(hop, view)
            except Unresolved as error:
                troubles.append(error)
                continue
            for address in found:
                if self.tools.health.reason(address):
                    down.append(address)
                else:
                    yield address
        yield from down

    def _hello_name(self, view: View) -> str:
        name = view[EHLO_HOSTNAME]
        if name in ("__hostname__", "__message__"):
            return view[HOSTNAME] or self.tools.hostname
        return name or self.tools.hostname

    def _keep(self, key: object, connection: Connection, view: View) -> None:
        most = view[MAX_DELIVERIES_PER_CONNECTION]
        if not connection.client.is_ready or (most and connection.client.transactions >= most):
            connection.close()
        else:
            self.tools.connections.give(key, connection, view[IDLE_TIMEOUT])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _undelivered(troubles: Sequence[HopUnreachable | Unresolved]) -> DeliveryError:
    """One failure for all: permanent only where every hop is."""
    texts = {trouble.text for trouble in troubles}
    text = texts.pop() if len(texts) == 1 else NO_VALID_HOSTS
    told = "; ".join(trouble.detail for trouble in troubles)
    final = [trouble for trouble in troubles if isinstance(trouble, Unresolved) and not trouble.temporary]
    if troubles and len(final) == len(troubles):
        return DeliveryError(f"{final[0].text}: {told}", temporary=False)
    reached = [trouble for trouble in troubles if isinstance(trouble, HopUnreachable)]
    last = reached[-1] if reached else HopUnreachable(text, "")
    return NoHopReachable(f"{text}: {told}", stage=last.stage, remote=last.remote)
