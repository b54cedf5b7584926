"""An HTTP/1.1 client for one POST after the other over a connection that is kept: sends bodies piece by piece.

The standard library's `http.client` speaks the protocol; the socket under it comes from `Tools.connect`, TLS from
gevent's `ssl`, so that green threads wait and nothing depends on monkey-patching. The caller sets the deadlines
(`gevent.Timeout` around each call). What an answer may cost in memory is bounded. Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

import gevent
from gevent import ssl

from gsmtp.core.stages import Stage
from gsmtp.delivery.transport import Connect, HopSocket
from gsmtp.delivery.url import Target

TIMED_OUT = "450 4.4.1 [internal] Connection Timed Out"
NOT_REACHED = "451 4.4.1 [internal] the receiver can't be reached"
NO_ADDRESS = "454 4.4.4 [internal] the receiver's name can't be resolved"
TLS_FAILED = "454 4.7.5 [internal] TLS with the receiver failed"
CUT_OFF = "451 4.4.2 [internal] connection closed by the receiver"
NOT_READ = "451 4.4.2 [internal] the receiver answered before it had all of the message"
NO_HTTP = "451 4.5.0 [internal] the receiver's answer is no HTTP"

_MOST_INTERIM = 20
_EXCERPT_BYTES = 2_048
_MOST_READ_BYTES = 65_536
"""Of an answer's body; a connection whose answer is longer is closed."""


class HttpTrouble(Exception):
    """No answer came.

    Args:
        text: an ``[internal]`` text that begins with a code.
        stage: how far it came.
        is_early: whether the receiver hung up without having said anything, as one does whose patience with an idle
            connection was over.
    """

    def __init__(self, text: str, stage: Stage, *, is_early: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.stage = stage
        self.is_early = is_early


def tls_context(authorities: str) -> ssl.SSLContext:
    """What verifies receivers: name and chain, by the system's authorities or by those of a file. Blocks.

    Raises:
        OSError: the file can't be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if authorities:
        context.load_verify_locations(authorities)
    else:
        context.load_default_certs()
    return context


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered.

    Args:
        status: the status code.
        reason: the words behind it.
        retry_after: the field of that name, "" for none.
        location: where a redirect leads, "" for no such field.
        excerpt: the beginning of the answer's text.
    """

    status: int
    reason: str
    retry_after: str
    location: str
    excerpt: str = ""


class _FinalResponse(http.client.HTTPResponse):
    """Passes over interim answers: 100 and 103 may come without having been asked for (RFC 9110 section 15.2)."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MOST_INTERIM):  # what is there already is read without a wait that a deadline could break off
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim answers")


class HttpConnection:
    """A connection to a receiver.

    Args:
        sock: connected, TLS done.
        target: where to.

    Attributes:
        stage: how far the request came.
        sent_bytes: of its body.
        is_reusable: whether another request may follow.
        said: the answer as far as its head says, None until that has come.
        remote: the receiver's address.
    """

    def __init__(self, sock: HopSocket, target: Target) -> None:
        self.target = target
        self.stage = Stage.IDLE
        self.sent_bytes = 0
        self.is_reusable = False
        self.said: Answer | None = None
        self._sock: HopSocket | None = sock
        self._http = http.client.HTTPConnection(target.host, target.port)
        self._http.auto_open = 0
        self._http.response_class = _FinalResponse
        self._http.sock = sock
        try:
            self.remote = str(sock.getpeername()[0])
        except OSError:
            self.remote = ""

    @classmethod
    def open(cls, target: Target, connect: Connect, timeout_s: float, context: ssl.SSLContext | None) -> HttpConnection:
        """Connect, within so many seconds, TLS included.

        Raises:
            HttpTrouble: it can't be reached, or isn't who it should be.
        """
        deadline = gevent.Timeout(timeout_s)
        deadline.start()
        try:
            sock = connect(target.host, target.port, timeout_s)
            sock.settimeout(None)
            if context is not None:
                sock = _secured(sock, context, target.host)
            return cls(sock, target)
        except gevent.Timeout as fired:
            if fired is not deadline:
                raise
            raise HttpTrouble(f"{TIMED_OUT}: {target.authority}", Stage.NOT_CONNECTED) from fired
        except socket.gaierror as error:
            raise HttpTrouble(f"{NO_ADDRESS}: {error.strerror or target.host}", Stage.NOT_CONNECTED) from error
        except TimeoutError as error:
            raise HttpTrouble(f"{TIMED_OUT}: {target.authority}", Stage.NOT_CONNECTED) from error
        except OSError as error:
            what = f"{NOT_REACHED}: {target.authority}: {error.strerror or error}"
            raise HttpTrouble(what, Stage.NOT_CONNECTED) from error
        finally:
            deadline.close()

    def begin(self, fields: Iterable[tuple[str, str]], size_bytes: int) -> None:
        """Send the head of a POST. Raises HttpTrouble."""
        self.is_reusable = False
        self.said = None
        self.sent_bytes = 0
        self.stage = Stage.AFTER_DATA
        try:
            self._http.putrequest("POST", self.target.path, skip_host=True, skip_accept_encoding=True)
            self._http.putheader("Host", self.target.authority)
            self._http.putheader("Content-Length", str(size_bytes))
            for name, value in fields:
                self._http.putheader(name, value)
            self._http.endheaders()
        except OSError as error:
            raise self._cut(error) from error

    def send(self, piece: bytes) -> bool:
        """Send a piece of the body. False when the receiver takes no more, and has perhaps said why."""
        self.stage = Stage.SENDING_BODY
        try:
            self._http.send(piece)
        except OSError:
            return False
        self.sent_bytes += len(piece)
        return True

    def answer(self, *, is_whole: bool) -> Answer:
        """Read the answer. The connection is reusable afterwards when all went by the book.

        Args:
            is_whole: whether all of the body was sent.

        Raises:
            HttpTrouble: none came.
        """
        if is_whole:
            self.stage = Stage.READING_CONFIRMATION
        try:
            response = self._http.getresponse()
        except OSError as error:  # RemoteDisconnected is one, too
            raise self._cut(error) from error
        except (http.client.HTTPException, ValueError) as error:
            raise HttpTrouble(f"{NO_HTTP}: {type(error).__name__}", self.stage) from error
        self.said = Answer(
            response.status,
            response.reason,
            response.getheader("Retry-After") or "",
            response.getheader("Location") or "",
        )
        try:
            text = response.read(_MOST_READ_BYTES)
            self.is_reusable = is_whole and response.isclosed() and not response.will_close
        except (OSError, http.client.HTTPException, ValueError):
            return self.said  # its status is what counts; to ask again would be to hand the message over twice
        finally:
            response.close()
        return replace(self.said, excerpt=_excerpt(response, text))

    def _cut(self, error: OSError) -> HttpTrouble:
        what = f"{CUT_OFF}: {error.strerror}" if error.strerror else CUT_OFF
        return HttpTrouble(what, self.stage, is_early=True)

    def is_alive(self) -> bool:
        """Whether an idle connection seems usable: nothing came, and it wasn't closed. Doesn't wait."""
        if self._sock is None or not self.is_reusable:
            return False
        try:
            self._sock.settimeout(0)
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._sock.settimeout(None)
            return True
        except OSError:
            return False
        return False  # closed, or talking out of turn

    def close(self) -> None:
        """Close; doesn't wait."""
        sock, self._sock = self._sock, None
        self.is_reusable = False
        self._http.close()
        if sock is not None:
            sock.close()


def _secured(sock: HopSocket, context: ssl.SSLContext, host: str) -> HopSocket:
    try:
        return context.wrap_socket(sock, server_hostname=host)  # type: ignore[arg-type]
    except ssl.SSLError as error:
        sock.close()
        what = getattr(error, "verify_message", "") or error.reason or str(error)
        raise HttpTrouble(f"{TLS_FAILED}: {what}", Stage.TLS_HANDSHAKE) from error
    except BaseException:
        sock.close()
        raise


def _excerpt(response: http.client.HTTPResponse, text: bytes) -> str:
    kind = (response.getheader("Content-Type") or "text/plain").lower()
    if not kind.startswith(("text/plain", "application/json", "application/problem+json")):
        return ""
    return text[:_EXCERPT_BYTES].decode("utf-8", "replace")
