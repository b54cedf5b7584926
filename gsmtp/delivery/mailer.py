"""Hands mail on by ESMTP, SMTP or LMTP: connects to the first address that is there, or takes an open connection.

A hop that can't be reached, doesn't greet well, or can't do what is asked for (TLS, XCLIENT) makes way for the next;
once a hop took part in the transaction its answers count. A connection that was kept open and turns out dead before the
hop answered anything is replaced at once, and so is one on which the hop doesn't know the BDAT that it offered.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import DeliveryError
from gsmtp.core.stages import Stage
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.client import Client, Mode
from gsmtp.delivery.client_options import BIND_ADDRESS, XCLIENT
from gsmtp.delivery.connection import NO_VALID_HOSTS, TIMED_OUT, Connection, HopUnreachable, Limits, remote_ip
from gsmtp.delivery.hops import spread
from gsmtp.delivery.mx_options import HOST_FAILURE_RETRY
from gsmtp.delivery.options import DELIVERY_METHOD, EHLO_HOSTNAME, IDLE_TIMEOUT, MAX_DELIVERIES_PER_CONNECTION
from gsmtp.delivery.resolve import Address, Unresolved
from gsmtp.delivery.securing import ClientContexts, Securing, contexts
from gsmtp.delivery.sockets import lean
from gsmtp.delivery.terms import Identity, Terms, Use
from gsmtp.delivery.tracing import OBSERVERS, Observer, Subject
from gsmtp.delivery.transport import Job, NoHopReachable, Outcome, Throttled, Tools
from gsmtp.runtime.tls_settings import TlsFileError
from gsmtp.smtp.abnf import is_greeting_name
from gsmtp.smtp.options import HOSTNAME, MAX_RECIPIENTS_PER_CONNECTION

REQUIRETLS_NEEDED = "550 5.7.30 [internal] REQUIRETLS support required"
_MOST_REMEMBERED = 1_000

_limits = lru_cache(maxsize=256)(Limits.of)  # made anew for each message they would cost more than its commands
_securing = lru_cache(maxsize=256)(Securing.of)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How connections for a job are to be.

    Args:
        view: the options.
        mode: how to speak.
        hello_name: what to call ourselves.
        limits: of time.
        securing: whether and how TLS is used.
        contexts: what it is used with, those of the configuration in force.
        xclient: whether XCLIENT is.
        identity: what it tells.
        source: the address to connect from, "".
        is_strict: whether the message asks for REQUIRETLS.
    """

    view: View
    mode: Mode
    hello_name: str
    limits: Limits
    securing: Securing
    contexts: ClientContexts
    xclient: Use
    identity: Identity
    source: str
    is_strict: bool

    def key(self, address: Address, *, is_introduced: bool) -> object:
        """By which a kept connection is found again: it must be what this plan would make."""
        return (
            self.mode,
            address.name,
            address.ip,
            address.port,
            self.hello_name,
            self.securing,
            self.contexts if self.securing.use is not Use.NO else None,  # a reload may trust others
            self.xclient,
            self.identity if is_introduced else None,
            self.source,
        )


class Mailer:
    """Delivers jobs by ESMTP, SMTP or LMTP.

    Args:
        tools: of the process.
        is_lmtp: whether LMTP is spoken whatever `Delivery_Method` says.
    """

    def __init__(self, tools: Tools, *, is_lmtp: bool = False) -> None:
        self.tools = tools
        self._is_lmtp = is_lmtp
        self._chooser = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._no_chunking: set[tuple[str, int]] = set()
        """Addresses that offer CHUNKING and don't know BDAT."""

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`.

        Raises:
            NoHopReachable: no hop could be connected to.
            DeliveryError: the message is to go over TLS only and can't, or the domain takes no mail.
        """
        most = job.view[MAX_RECIPIENTS_PER_CONNECTION]
        if not most or len(job.recipients) <= most:
            return self._attempt(job)
        outcomes: list[Outcome] = []
        for start in range(0, len(job.recipients), most):
            try:
                outcomes += self._attempt(replace(job, recipients=job.recipients[start : start + most]))
            except DeliveryError as error:
                if not outcomes:
                    raise
                # What is known of the first ones must be noted, whatever becomes of the others.
                outcomes += [_as_outcome(error)] * (len(job.recipients) - len(outcomes))
                break
        return outcomes

    def _attempt(self, job: Job) -> list[Outcome]:
        """One transaction, with the first address that takes part."""
        plan = self._plan(job)
        view = job.view
        troubles: list[HopUnreachable | Unresolved] = []
        for address in self._addresses(job, troubles):
            down = self.tools.health.reason(address)
            if down and not RetryPolicy.of(view).tries_once:
                troubles.append(HopUnreachable(down, f"{address} was not reached just now"))
            elif plan.source and (":" in plan.source) != (":" in address.ip):
                what = f"{address} can't be reached from Bind_Address {plan.source}"
                troubles.append(HopUnreachable(NO_VALID_HOSTS, what))
            else:
                try:
                    return self._at(job, address, self._as_at_home(plan, address))
                except HopUnreachable as error:
                    if error.is_down:
                        self.tools.health.failed(address, error.text, view[HOST_FAILURE_RETRY])
                    troubles.append(error)
        raise _undelivered(troubles, is_strict=plan.is_strict)

    def _plan(self, job: Job) -> _Plan:
        view, envelope = job.view, job.envelope
        xclient = Use(view[XCLIENT])
        return _Plan(
            view=view,
            mode=self._mode(view),
            hello_name=self._hello_name(view, envelope),
            limits=_limits(view),
            securing=Securing.strictly(view) if envelope.requires_tls else _securing(view),
            contexts=contexts(),
            xclient=xclient,
            identity=Identity.of(envelope) if xclient is not Use.NO else Identity(),
            source=view[BIND_ADDRESS],
            is_strict=envelope.requires_tls,
        )

    def _mode(self, view: View) -> Mode:
        if self._is_lmtp:
            return Mode.LMTP
        return Mode.SMTP if view[DELIVERY_METHOD] == "SMTP" else Mode.ESMTP

    def _as_at_home(self, plan: _Plan, address: Address) -> _Plan:
        """A mail store on this very host may get mail with REQUIRETLS without TLS: nobody hands it on from there."""
        if plan.is_strict and plan.mode is Mode.LMTP and ipaddress.ip_address(address.ip).is_loopback:
            return replace(plan, securing=Securing.of(plan.view), is_strict=False)
        return plan

    def _at(self, job: Job, address: Address, plan: _Plan) -> list[Outcome]:
        """Deliver at an address, over a kept connection or a new one. Raises HopUnreachable."""
        observer = _observer(job, address)
        outcomes = self._over_kept(job, address, plan, observer)
        if outcomes is not None:
            return outcomes
        job.connecting()
        connection = self._open(address, plan, observer)
        self.tools.health.worked(address)
        self._examine(connection, address, plan)
        outcomes = connection.deliver(job, plan.limits, self.tools.native)
        if self._forgets_chunking(connection, address):
            connection = self._open(address, plan, observer)
            outcomes = connection.deliver(job, plan.limits, self.tools.native)
        self._keep(connection, address, plan)
        return outcomes

    def _over_kept(self, job: Job, address: Address, plan: _Plan, observer: Observer | None) -> list[Outcome] | None:
        """Deliver over a kept connection; None when there is none, or it turned out to be of no use."""
        connection = self._take(job, address, plan)
        if connection is None:
            return None
        connection.observer = observer
        self._examine(connection, address, plan)
        outcomes = connection.deliver(job, plan.limits, self.tools.native)
        if self._forgets_chunking(connection, address):
            return None
        if not connection.client.has_answer and connection.client.is_closed:
            return None
        self._keep(connection, address, plan)
        return outcomes

    def _take(self, job: Job, address: Address, plan: _Plan) -> Connection | None:
        most = plan.view[MAX_RECIPIENTS_PER_CONNECTION]
        for is_introduced in (True, False) if plan.xclient is not Use.NO else (False,):
            connection = self.tools.connections.take(plan.key(address, is_introduced=is_introduced))
            if isinstance(connection, Connection):
                if not most or connection.client.recipients + len(job.recipients) <= most:
                    return connection
                connection.close()
        return None

    def _open(self, address: Address, plan: _Plan, observer: Observer | None) -> Connection:
        """A new connection that is ready for mail, after as many tries as the options allow. Raises HopUnreachable."""
        securing = plan.securing
        try:
            return self._connect(address, plan, securing, observer)
        except HopUnreachable as error:
            trouble = error
        if trouble.is_certificate and securing.tls.verify == "optional":
            try:
                return self._connect(address, plan, securing.unverified, observer)
            except HopUnreachable as error:
                trouble = error
        if trouble.is_tls and securing.use is Use.IFAVAILABLE and securing.falls_back:
            return self._connect(address, plan, securing.in_clear, observer)
        raise trouble

    def _connect(self, address: Address, plan: _Plan, securing: Securing, observer: Observer | None) -> Connection:
        context = None
        if securing.use is not Use.NO:
            try:
                context = plan.contexts.get(securing.tls, self.tools.native)
            except TlsFileError as error:
                raise DeliveryError(f"451 4.3.5 [internal] {error.option.name}: {error}") from error
        limits = plan.limits
        started = time.monotonic()
        try:
            sock = self.tools.connect(address.ip, address.port, limits.connect_s, source=plan.source)
        except TimeoutError as error:
            raise HopUnreachable(TIMED_OUT, f"{address} after {limits.connect_s:g} s") from error
        except OSError as error:
            what = f" from {plan.source}" if plan.source else ""
            raise HopUnreachable(NO_VALID_HOSTS, f"{address}{what} {error.strerror or error}") from error
        knows_chunking = (address.ip, address.port) not in self._no_chunking
        terms = Terms(securing.use, plan.xclient, plan.identity, knows_chunking)
        client = Client(plan.mode, plan.hello_name, str(address), remote_ip(sock), terms)
        connection = Connection(lean(sock), client, address)
        if observer is not None:
            connection.observer = observer
            observer.event(f"connected to {address}")
        connection.greet(limits, started, context, address.name)
        return connection

    def _examine(self, connection: Connection, address: Address, plan: _Plan) -> None:
        """Turn away from a hop that can't pass REQUIRETLS on (RFC 8689 section 4.2.1). Raises HopUnreachable."""
        if plan.is_strict and "REQUIRETLS" not in connection.client.extensions:
            client = connection.client
            connection.close()
            what = f"{address} doesn't offer it"
            raise HopUnreachable(REQUIRETLS_NEEDED, what, Stage.DURING_EHLO, client.remote, is_down=False)

    def _forgets_chunking(self, connection: Connection, address: Address) -> bool:
        """Whether the hop answered BDAT as if it didn't know it; then it is spoken to without from now on."""
        if not connection.client.chunking_refused:
            return False
        if len(self._no_chunking) >= _MOST_REMEMBERED:
            self._no_chunking.clear()
        self._no_chunking.add((address.ip, address.port))
        connection.abandon()  # what it made of the body's lines nobody knows
        return True

    def _addresses(self, job: Job, troubles: list[HopUnreachable | Unresolved]) -> Iterator[Address]:
        """By preference; addresses that are backed off from come last. Names are looked up when it is their turn."""
        down: list[Address] = []
        for hop in spread(job.hops, self._chooser):
            try:
                found = self.tools.resolver.addresses(hop, job.view)
            except Unresolved as error:
                troubles.append(error)
                continue
            for address in found:
                if job.envelope.requires_tls:
                    # RFC 8689 section 4.2.1: the name of an MX host that unsigned DNS told isn't to be trusted.
                    address = replace(address, name=hop.host)
                if self.tools.health.reason(address):
                    down.append(address)
                else:
                    yield address
        yield from down

    def _hello_name(self, view: View, envelope: Envelope) -> str:
        name = view[EHLO_HOSTNAME]
        if name == "__message__":
            domain = envelope.reverse_path.rpartition("@")[2].lower()
            name = domain if domain.isascii() and is_greeting_name(domain) else "__hostname__"
        if name == "__hostname__":
            return view[HOSTNAME] or self.tools.hostname
        return name or self.tools.hostname

    def _keep(self, connection: Connection, address: Address, plan: _Plan) -> None:
        view, client = plan.view, connection.client
        connection.observer = None
        most, most_recipients = view[MAX_DELIVERIES_PER_CONNECTION], view[MAX_RECIPIENTS_PER_CONNECTION]
        is_used_up = (most and client.transactions >= most) or (
            most_recipients and client.recipients >= most_recipients
        )
        if is_used_up or not client.is_ready:
            connection.close()
        else:
            key = plan.key(address, is_introduced=client.is_introduced)
            self.tools.connections.give(key, connection, view[IDLE_TIMEOUT])


def _observer(job: Job, address: Address) -> Observer | None:
    if not OBSERVERS:
        return None
    first = job.recipients[0]
    return OBSERVERS.of(Subject(job.envelope.message_id, first.binding, first.domain, str(address)))


def _as_outcome(error: DeliveryError) -> Outcome:
    """A failure that some of a message's recipients share, as `delivery.worker` makes it of one that all share."""
    text = str(error)
    code = int(text[:3]) if text[:3].isdecimal() and not isinstance(error, Throttled) else 451
    if error.temporary != (400 <= code < 500):
        code = 451 if error.temporary else 554
    stage, remote = (error.stage, error.remote) if isinstance(error, NoHopReachable) else (Stage.NOT_CONNECTED, "")
    return Outcome(code, text, "none", stage, remote)


def _undelivered(troubles: Sequence[HopUnreachable | Unresolved], *, is_strict: bool) -> DeliveryError:
    """One failure for all: permanent only where every hop is."""
    told = "; ".join(trouble.detail for trouble in troubles)
    reached = [trouble for trouble in troubles if isinstance(trouble, HopUnreachable)]
    if is_strict and troubles and sum(not trouble.is_down for trouble in reached) == len(troubles):
        # RFC 8689 section 4.2.1: nobody takes it as its sender demands, and waiting changes nothing.
        return DeliveryError(f"{REQUIRETLS_NEEDED}: {told}", temporary=False)
    final = [trouble for trouble in troubles if isinstance(trouble, Unresolved) and not trouble.temporary]
    if troubles and len(final) == len(troubles):
        return DeliveryError(f"{final[0].text}: {told}", temporary=False)
    texts = {trouble.text for trouble in troubles}
    text = texts.pop() if len(texts) == 1 else NO_VALID_HOSTS
    last = reached[-1] if reached else HopUnreachable(text, "")
    return NoHopReachable(f"{text}: {told}", stage=last.stage, remote=last.remote)
