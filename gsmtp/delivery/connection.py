"""Drives the client machine over a socket: sends, reads, keeps the time limits, begins TLS, streams bodies.

Each reply has its own time limit, by what it answers; each piece of a body has `Body_Timeout`. A limit is a point in
time, so a hop that dribbles bytes doesn't win time. A large body is read by native threads, piece by piece: a delivery
holds about three pieces (128 KiB each) in memory, whatever the message's size.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gsmtp.config.view import View
from gsmtp.core.errors import DeliveryError, SpoolError
from gsmtp.core.stages import Stage
from gsmtp.delivery.client import CONNECTION_CLOSED, Client
from gsmtp.delivery.options import (
    BODY_TIMEOUT,
    CONNECT_TIMEOUT,
    EHLO_TIMEOUT,
    MAILFROM_TIMEOUT,
    RCPTTO_TIMEOUT,
    RSET_TIMEOUT,
)
from gsmtp.delivery.resolve import Address
from gsmtp.delivery.securing import TlsSocket
from gsmtp.delivery.steps import Step
from gsmtp.delivery.tracing import Observer
from gsmtp.delivery.transport import CutOff, HopSocket, Job, Native, Outcome
from gsmtp.spool.base import StoredBody

TIMED_OUT = "450 4.4.1 [internal] Connection Timed Out"
NO_VALID_HOSTS = "451 4.4.1 [internal] No valid hosts (unable to make any connections)"

_RECV_BYTES = 16_384
_JOINED_BYTES = 8192
"""Commands up to this length go out with the first piece of the body, in one packet where that fits."""
_LAST_WORDS_S = 5.0
"""How long to look for a refusal after a hop stopped taking the body."""


class HopUnreachable(Exception):
    """The hop couldn't be connected to or didn't greet well: the next one may be tried.

    Args:
        text: an ``[internal]`` text that begins with a code.
        detail: what happened, with the hop's name.
        stage: how far it let us come.
        remote: its IP address, "" when it wasn't connected to.
        is_down: whether others will fare likewise; else it is about what was asked for (TLS, XCLIENT).
        is_certificate: whether TLS failed because of the hop's certificate.
    """

    def __init__(
        self,
        text: str,
        detail: str,
        stage: Stage = Stage.NOT_CONNECTED,
        remote: str = "",
        *,
        is_down: bool = True,
        is_certificate: bool = False,
    ) -> None:
        super().__init__(f"{text}: {detail}")
        self.text = text
        self.detail = detail
        self.stage = stage
        self.remote = remote
        self.is_down = is_down
        self.is_certificate = is_certificate

    @property
    def is_tls(self) -> bool:
        """Whether TLS failed, though it was offered."""
        return not self.is_down and self.stage in (Stage.DURING_STARTTLS, Stage.TLS_HANDSHAKE)


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, from the options of the same names."""

    connect_s: float
    hello_s: float
    mail_s: float
    rcpt_s: float
    body_s: float
    rset_s: float

    @classmethod
    def of(cls, view: View) -> Limits:
        """The limits of a domain."""
        return cls(
            view[CONNECT_TIMEOUT],
            view[EHLO_TIMEOUT],
            view[MAILFROM_TIMEOUT],
            view[RCPTTO_TIMEOUT],
            view[BODY_TIMEOUT],
            view[RSET_TIMEOUT],
        )

    def for_step(self, step: Step) -> float:
        """Seconds that the reply may take."""
        match step:
            case Step.GREETING:
                return self.connect_s
            case Step.HELLO | Step.STARTTLS | Step.HANDSHAKE | Step.XCLIENT:
                return self.hello_s
            case Step.MAIL:
                return self.mail_s
            case Step.RCPT:
                return self.rcpt_s
            case Step.RSET:
                return self.rset_s
            case _:
                return self.body_s


class Connection:
    """A connection to a next hop on which transactions are made one after the other.

    Args:
        sock: connected.
        client: a new machine.
        hop: the other end.

    Attributes:
        observer: who sees what is said, None for nobody.
        domain: of the first recipient of its last transaction, "" before there was one.
    """

    def __init__(self, sock: HopSocket, client: Client, hop: Address) -> None:
        self.client = client
        self.hop = hop
        self.observer: Observer | None = None
        self.domain = ""
        self._is_certificate = False
        self._sock: HopSocket | None = sock
        CONNECTIONS.add(self)

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor, -1 once it is closed or where it has none."""
        fileno = getattr(self._sock, "fileno", None)
        return int(fileno()) if fileno is not None else -1

    def greet(self, limits: Limits, started_mono: float, context: ssl.SSLContext | None, name: str) -> None:
        """Lead the connection to where mail can be sent.

        Args:
            limits: of time.
            started_mono: when connecting began: the banner's limit counts from there.
            context: for STARTTLS, None where the terms ask for none.
            name: of the host, for its certificate.

        Raises:
            HopUnreachable: it didn't come to that. The connection is closed.
        """
        client = self.client
        end = started_mono + limits.connect_s
        replies = 0
        try:
            while not client.is_ready and not client.is_closed:
                if client.wants_handshake:
                    self._handshake(context, name, time.monotonic() + limits.hello_s)
                    end = time.monotonic() + limits.hello_s
                    continue
                self._send(client.data_to_send(), limits.hello_s)
                self._receive(end)
                if client.replies != replies:
                    replies = client.replies
                    end = time.monotonic() + limits.hello_s
        except BaseException:
            self.abandon()
            raise
        if client.is_closed:
            self.abandon()
            raise self._unreachable(client.refusal or CONNECTION_CLOSED)

    def _unreachable(self, refusal: str) -> HopUnreachable:
        client = self.client
        if client.is_unwilling:
            text, _, why = refusal.partition(": ")
            detail = f"{self.hop} {why}".rstrip()
            certificate = self._is_certificate
            return HopUnreachable(text, detail, client.stage, client.remote, is_down=False, is_certificate=certificate)
        if refusal.startswith(TIMED_OUT):
            return HopUnreachable(TIMED_OUT, f"{self.hop} while waiting for the greeting", client.stage, client.remote)
        return HopUnreachable(NO_VALID_HOSTS, f"{self.hop} said {refusal}", client.stage, client.remote)

    def _handshake(self, context: ssl.SSLContext | None, name: str, end_mono: float) -> None:
        """Begin TLS; a failure closes the machine."""
        client = self.client
        if self._sock is None or context is None:
            client.refuse_tls("there are no settings for it")
            return
        try:
            tls = TlsSocket(self._sock, context, name)
            told = tls.handshake(end_mono)
        except ssl.SSLCertVerificationError as error:
            self._is_certificate = True
            client.refuse_tls(f"its certificate is not good: {error.verify_message}")
        except TimeoutError:
            client.refuse_tls("the handshake took too long")
        except ssl.SSLError as error:
            client.refuse_tls(_tls_words(error))
        except OSError as error:
            client.refuse_tls(error.strerror or str(error))
        except ValueError as error:  # UnicodeError is one, too
            client.refuse_tls(f"'{name}' can't be the name of a host: {error}")
        else:
            self._sock = tls
            client.secured(told)
        if self.observer is not None:
            self.observer.event(f"TLS: {client.tls or client.refusal}")

    def deliver(self, job: Job, limits: Limits, native: Native) -> list[Outcome]:
        """Make one transaction: one Outcome a recipient.

        Raises:
            DeliveryError: the body can't be read.
            CutOff: it was broken off from outside, and some recipients have the message.
        """
        client = self.client
        self.domain = job.recipients[0].domain
        is_small = job.body.data is not None
        client.begin(job.envelope, job.recipients, job.body.size_bytes, is_small=is_small)
        replies = client.replies
        end = time.monotonic() + limits.for_step(client.step)
        try:
            while not client.transaction_done:
                if client.wants_body:
                    self._send_body(job, limits, native)
                    end = time.monotonic() + limits.for_step(client.step)
                else:
                    self._send(client.data_to_send(), limits.for_step(client.step))
                if not client.transaction_done:
                    self._receive(end)
                if client.replies != replies:
                    replies = client.replies
                    end = time.monotonic() + limits.for_step(client.step)
        except BaseException as error:
            self.abandon()  # those without an answer get one
            known = client.outcomes()
            if any(outcome.is_delivered for outcome in known):
                raise CutOff(known) from error
            raise
        if client.is_closed:
            self.abandon()
        return client.outcomes()

    def _send_body(self, job: Job, limits: Limits, native: Native) -> None:
        client = self.client
        waiting = client.data_to_send()
        try:
            for piece in _pieces(job.body, native):
                if len(waiting) > _JOINED_BYTES:
                    self._send(waiting, limits.body_s)
                    waiting = b""
                if client.is_closed:
                    return
                waiting += client.body(piece)
        except (SpoolError, OSError) as error:
            # Without its final dot the hop throws the piece of a message away.
            self.abandon()
            raise DeliveryError(f"451 4.3.0 [internal] the message can't be read: {error}") from error
        if not client.is_closed:
            try:
                job.mark()
            except SpoolError as error:
                self.abandon()
                raise DeliveryError(f"451 4.3.0 [internal] the spool can't note what comes: {error}") from error
            client.end_body()
            self._send(waiting + client.data_to_send(), limits.body_s)

    def _send(self, data: bytes, limit_s: float) -> None:
        """Send; a failure closes the machine, with the hop's last words if it left any."""
        if not data or self._sock is None:
            return
        if self.observer is not None:
            self.observer.sent(data)
        try:
            self._sock.settimeout(limit_s)
            self._sock.sendall(data)
        except TimeoutError:
            self.client.fail(f"{TIMED_OUT} (sending)")
        except OSError:
            end = time.monotonic() + _LAST_WORDS_S
            while not self.client.is_closed:
                self._receive(end)

    def _receive(self, end_mono: float) -> None:
        """Read once, until `end_mono` at the latest; a failure closes the machine."""
        client = self.client
        if self._sock is None or client.is_closed:
            return
        try:
            self._sock.settimeout(max(end_mono - time.monotonic(), 0.001))
            data = self._sock.recv(_RECV_BYTES)
            if self.observer is not None:
                self.observer.received(data)
            client.receive(data)
        except TimeoutError:
            client.fail(f"{TIMED_OUT} (waiting for the reply to {client.step.value})")
        except ssl.SSLError as error:
            why = _tls_words(error)
            if client.step is Step.HELLO:
                # TLS 1.3: the hop judges our certificate when the handshake is over for us.
                client.refuse_tls(why)
            else:
                client.fail(f"{CONNECTION_CLOSED} ({why})")
        except OSError as error:
            client.fail(f"{CONNECTION_CLOSED} ({error.strerror or error})")

    def is_alive(self) -> bool:
        """Whether an idle connection seems usable: nothing came, and it wasn't closed. Doesn't wait."""
        if self._sock is None or not self.client.is_ready:
            return False
        try:
            self._sock.settimeout(0)
            self.client.receive(self._sock.recv(_RECV_BYTES))
        except BlockingIOError:
            return True
        except OSError as error:
            self.client.fail(f"{CONNECTION_CLOSED} ({error.strerror or error})")
        return not self.client.is_closed

    def close(self) -> None:
        """Say QUIT, if that doesn't block, and close."""
        self.client.quit()
        farewell = self.client.data_to_send()
        if farewell and self._sock is not None:
            try:
                self._sock.settimeout(0)
                self._sock.sendall(farewell)
            except OSError:
                pass  # the hop is gone: nothing to say goodbye to
        self.abandon()

    def abandon(self) -> None:
        """Close without a word."""
        sock, self._sock = self._sock, None
        CONNECTIONS.discard(self)
        if sock is not None:
            self.client.fail(CONNECTION_CLOSED)
            sock.close()


CONNECTIONS: Final[set[Connection]] = set()
"""Those of this process that are open, for the console."""


def _tls_words(error: ssl.SSLError) -> str:
    return (getattr(error, "reason", "") or str(error)).lower().replace("_", " ")


def remote_ip(sock: HopSocket) -> str:
    """The address that was connected to, "" when the other end is gone again."""
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""


def _pieces(body: StoredBody, native: Native) -> Iterator[bytes]:
    """The body in pieces; a file is read in native threads."""
    pieces = body.pieces()
    if body.data is not None:
        yield from pieces
        return
    while piece := native.call(next, pieces, b""):
        yield piece
