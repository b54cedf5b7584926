"""TLS by the standard library: the usual engine, for all that need neither client certificates nor channel bindings."""

from __future__ import annotations

import ssl
from typing import Final

from gsmtp.runtime.tls import TlsFacts, TlsFault, printable
from gsmtp.runtime.tls_files import DEFAULT_DH_FILE, as_file_error, by_name, chosen, load_dh, read_chain
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings
from gsmtp.smtp.tls_options import TLS_CIPHERS

VERSIONS: Final = {
    "TLSv1.0": (ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    "TLSv1.1": (ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    "TLSv1.2": (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    "TLSv1.3": (ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
}
_ALLOW_CLIENT_RENEGOTIATION: Final = 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION of OpenSSL 3, which Python doesn't name
_READ_BYTES: Final = 16_384  # a record has no more
_TICKETS: Final = 1
"""Session tickets that a TLS 1.3 client gets, enough to resume once. Each costs a tenth of what a handshake does, and
mail clients seldom connect twice at a time."""


class _Tls(ssl.SSLObject):
    """A server side that remembers what name was asked for."""

    asked_name = ""

    def _sslsock(self) -> _Tls:
        """What gevent's wrapper of SNI callbacks looks for: it knows sockets only."""
        return self


class StdlibContext:
    """Certificates and settings, made once and used by many connections.

    Args:
        settings: of the view.

    Raises:
        TlsFileError: a file can't be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._main = _context(settings, settings.certificate, settings.key)
        others = by_name(settings, lambda path: _context(settings, path, ""))

        def choose(tls: _Tls, name: str | None, _context: ssl.SSLContext) -> None:
            tls.asked_name = name or ""
            other = chosen(others, name)
            if other is not None:
                tls.context = other

        self._main.sslobject_class = _Tls
        self._main.sni_callback = choose  # type: ignore[assignment]

    def begin(self) -> StdlibLayer:
        """The server side of a new connection."""
        return StdlibLayer(self._main)


def _context(settings: TlsSettings, certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    versions = settings.protocols.versions
    context.minimum_version = VERSIONS[versions[0]][0]
    context.maximum_version = VERSIONS[versions[-1]][0]
    for name in settings.protocols.left_out:
        context.options |= VERSIONS[name][1]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = _TICKETS
    if settings.renegotiation is not None:
        if settings.renegotiation:
            context.options |= _ALLOW_CLIENT_RENEGOTIATION
        else:
            context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.set_ciphers(settings.cipher_list)
    except ssl.SSLError as error:
        raise TlsFileError(TLS_CIPHERS, f"'{settings.ciphers}': no cipher matches") from error
    read_chain(certificate, key)  # says what is wrong in words; OpenSSL's don't name the file
    try:
        context.load_cert_chain(certificate, key or None)
    except (ssl.SSLError, OSError) as error:
        raise as_file_error(error, certificate, key) from error
    if settings.has_dhe:
        load_dh(context.load_dh_params, settings.dh_file or DEFAULT_DH_FILE)
    return context


class StdlibLayer:
    """One connection's TLS.

    At the end of a TLS 1.3 handshake only the session ticket is left to send. It goes out with what is sent next: by
    itself it would cost a packet, and no client waits for it (RFC 8446 section 4.6.1).

    Args:
        context: of the server.
    """

    __slots__ = ("_holds_ticket", "_in", "_out", "_tls", "_unsent", "is_ended", "is_ready")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._unsent = b""
        self._holds_ticket = False
        self.is_ready = False
        self.is_ended = False

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext (b"": the peer closed), give what clear bytes it holds. Raises TlsFault."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        self._holds_ticket = False
        try:
            if not self.is_ready:
                self._tls.do_handshake()
                self.is_ready = True
                self._holds_ticket = self._tls.version() == "TLSv1.3"
                if not self._in.pending:
                    return b""
            clear = self._read()
            if self._unsent:
                self._write(b"")
            return clear
        except ssl.SSLWantReadError:
            return b""
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.is_ended = True
            return b""
        except ssl.SSLError as error:
            raise TlsFault(_words(error)) from error

    def _read(self) -> bytes:
        """All that can be read now; an end that comes behind data is told with the data.

        OpenSSL isn't asked where it can have nothing: it says so by an exception, which costs more than the reading.
        """
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(_READ_BYTES):
                pieces.append(piece)
                if not (self._in.pending or self._tls.pending()):
                    break
            else:
                self.is_ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.is_ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Take clear bytes to send."""
        self._holds_ticket = False
        self._write(data)

    def _write(self, data: bytes) -> None:
        """What a renegotiation of the client's holds up waits for its end."""
        unsent = self._unsent + data if self._unsent else data
        try:
            while unsent:
                unsent = unsent[self._tls.write(unsent) :]
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsFault(_words(error)) from error
        self._unsent = unsent

    def data_to_send(self) -> bytes:
        """Ciphertext to write now."""
        return self._out.read() if self._out.pending and not self._holds_ticket else b""

    def close(self) -> None:
        """End our side: a close_notify waits in `data_to_send`."""
        self._holds_ticket = False
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # it waits for the peer's, which needs not come (RFC 8446 section 6.1)

    def facts(self) -> TlsFacts:
        """What the handshake told."""
        name, _, bits = self._tls.cipher() or ("", "", 0)
        asked = self._tls.asked_name if isinstance(self._tls, _Tls) else ""
        return TlsFacts(self._tls.version() or "", name, bits, bits, server_name=printable(asked))


def _words(error: ssl.SSLError) -> str:
    return (getattr(error, "reason", "") or str(error)).lower().replace("_", " ")
