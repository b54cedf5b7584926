"""TLS as a client: what a view asks for, the contexts that are made for it, and a socket that speaks it.

Contexts are shared by all views that say the same. Those that the configuration's stanzas need are made when it is
loaded (`prepare`), in a native thread, so that a bad file stops the load; what only comes up with a message (regular
expressions for domains may combine stanzas) is made then, in a native thread, too.

Source: RFC 3207, RFC 8689; reference/policy-and-context.md section 5.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from gsmtp.config.option import OUTBOUND, Option
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.delivery.client_options import TLS, TLS_CA, TLS_IFAVAILABLE_FALLBACK, TLS_VERIFY
from gsmtp.delivery.terms import Use
from gsmtp.delivery.transport import HopSocket, Native
from gsmtp.runtime.tls_files import as_file_error, read_chain
from gsmtp.runtime.tls_settings import TlsFileError, paired_key, placed
from gsmtp.runtime.tls_stdlib import VERSIONS
from gsmtp.smtp.tls_options import TLS_CERTIFICATE, TLS_CIPHERS, TLS_KEY, TLS_PROTOCOLS, Protocols

_RECORD_BYTES: Final = 16_384
_MOST_WITHOUT_CONTENT: Final = 3 * _RECORD_BYTES
"""Of TLS's own messages (tickets, new keys) in a row: a flood of them would be read without ever waiting."""
_MOST_IN_HANDSHAKE: Final = 16 * _RECORD_BYTES


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a context is made from, and by which it is shared.

    Args:
        verify: a value of TLS_Verify; ``optional`` is ``host`` whose failure leads to another try with ``no``.
        ca: path of the issuers' file, "" for the system's.
        certificate: path of our own certificate, "" for none.
        key: path of its key, "" when the certificate's file holds it.
        ciphers: OpenSSL cipher list.
        protocols: versions.
    """

    verify: str = "no"
    ca: str = ""
    certificate: str = ""
    key: str = ""
    ciphers: str = TLS_CIPHERS.default
    protocols: Protocols = TLS_PROTOCOLS.default


@dataclass(frozen=True, slots=True)
class Securing:
    """How a view wants connections secured.

    Args:
        use: whether.
        tls: how.
        falls_back: whether clear text is good enough when TLS fails under ``ifavailable``.
    """

    use: Use
    tls: ClientTls
    falls_back: bool = True

    @classmethod
    def of(cls, view: View) -> Securing:
        """What a view says."""
        use = Use(view[TLS])
        return cls(use, _tls_of(view) if use is not Use.NO else ClientTls(), view[TLS_IFAVAILABLE_FALLBACK])

    @classmethod
    def strictly(cls, view: View) -> Securing:
        """For mail with REQUIRETLS: TLS, and the name must be in the certificate (RFC 8689 section 4.2.1)."""
        return cls(Use.REQUIRED, replace(_tls_of(view), verify="host", ca=view[TLS_CA]), False)

    @property
    def in_clear(self) -> Securing:
        """The same without TLS."""
        return Securing(Use.NO, ClientTls())

    @property
    def unverified(self) -> Securing:
        """The same with any certificate."""
        return replace(self, tls=replace(self.tls, verify="no"))


def _tls_of(view: View) -> ClientTls:
    verify = view[TLS_VERIFY]
    return ClientTls(
        verify=verify,
        ca=view[TLS_CA] if verify != "no" else "",
        certificate=view[TLS_CERTIFICATE],
        key=paired_key(view),
        ciphers=view[TLS_CIPHERS],
        protocols=view[TLS_PROTOCOLS],
    )


def make_context(settings: ClientTls) -> ssl.SSLContext:
    """A context. Reads files: for native threads. Raises TlsFileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.verify in ("host", "optional")
    context.verify_mode = ssl.CERT_NONE if settings.verify == "no" else ssl.CERT_REQUIRED
    versions = settings.protocols.versions
    context.minimum_version = VERSIONS[versions[0]][0]
    context.maximum_version = VERSIONS[versions[-1]][0]
    for name in settings.protocols.left_out:
        context.options |= VERSIONS[name][1]
    ciphers = f"{settings.ciphers}:@SECLEVEL=0" if settings.protocols.old else settings.ciphers
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise TlsFileError(TLS_CIPHERS, f"'{settings.ciphers}': no cipher matches") from error
    if settings.verify != "no":
        _load_issuers(context, settings.ca)
    if settings.certificate:
        read_chain(settings.certificate, settings.key)
        try:
            context.load_cert_chain(settings.certificate, settings.key or None)
        except (ssl.SSLError, OSError) as error:
            raise as_file_error(error, settings.certificate, settings.key) from error
    return context


def _load_issuers(context: ssl.SSLContext, path: str) -> None:
    if not path:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsFileError(TLS_CA, f"{path} holds no certificate in PEM form that could be read") from error
    except OSError as error:
        raise TlsFileError(TLS_CA, f"can't read {path}: {error.strerror}") from error


class ClientContexts:
    """The contexts of one configuration."""

    def __init__(self) -> None:
        self._made: dict[ClientTls, ssl.SSLContext] = {}

    def make(self, settings: ClientTls) -> ssl.SSLContext:
        """The context for these settings. Reads files: for native threads. Raises TlsFileError."""
        found = self._made.get(settings)
        if found is None:
            found = self._made[settings] = make_context(settings)
        return found

    def get(self, settings: ClientTls, native: Native) -> ssl.SSLContext:
        """Likewise, for green threads."""
        return self._made.get(settings) or native.call(self.make, settings)


_current = ClientContexts()


def contexts() -> ClientContexts:
    """Those of the configuration that is in force."""
    return _current


def use(made: ClientContexts) -> None:
    """Let these be the ones from now on. Runs on the hub."""
    global _current
    _current = made


def prepare(configuration: Configuration) -> ClientContexts:
    """Make the contexts that the stanzas of a configuration ask for. Reads files: for native threads.

    Raises:
        ConfigError: a file can't be used.
    """
    made = ClientContexts()
    for scope in _outbound(configuration.tree.root):
        chain = [scope]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        view = View(tuple(chain), generation=configuration.generation)
        if view[TLS] == "no" and not _sets_files(scope):
            continue
        settings = _tls_of(view)
        if view[TLS_CA]:  # a file that isn't needed as yet is looked at, too
            settings = replace(settings, verify=view[TLS_VERIFY] if view[TLS_VERIFY] != "no" else "ca", ca=view[TLS_CA])
        try:
            made.make(settings)
            if settings != _tls_of(view):
                made.make(_tls_of(view))
            if view[TLS_VERIFY] == "optional":
                made.make(replace(settings, verify="no"))
        except TlsFileError as error:
            raise _placed(error, view) from error
    return made


_FILES: Final[tuple[Option[Any], ...]] = (TLS_CERTIFICATE, TLS_KEY)


def _sets_files(scope: Scope) -> bool:
    """Whether a stanza names a file for TLS as a client: the certificate of the global scope is the server's, too."""
    options: tuple[Option[Any], ...] = (TLS_CA,) if scope.parent is None else (TLS_CA, *_FILES)
    return any(option.key in scope.settings for option in options)


def _outbound(scope: Scope) -> Iterator[Scope]:
    if scope.kind in OUTBOUND:
        yield scope
    for child in scope.children.values():
        yield from _outbound(child)


def _placed(error: TlsFileError, view: View) -> ConfigError:
    return placed(error, view)


class TlsSocket:
    """TLS over a connected socket: what `Connection` uses of a socket, with the handshake done by `handshake`.

    Args:
        sock: connected.
        context: of the client.
        name: the host's name or address: asked for by SNI, and looked for in the certificate. Raises ValueError for
            one that can't be a host's.
    """

    def __init__(self, sock: HopSocket, context: ssl.SSLContext, name: str) -> None:
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name.rstrip(".") or None)
        self._is_verified = "verified" if context.check_hostname else "trusted"
        if context.verify_mode == ssl.CERT_NONE:
            self._is_verified = "unverified"
        self._timeout_s: float | None = None

    def handshake(self, end_mono: float) -> str:
        """Make the handshake; what is told of it. Raises OSError: ssl.SSLError, TimeoutError and others."""
        filled = 0
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(end_mono)
                filled += self._fill(end_mono, _MOST_IN_HANDSHAKE - filled)
            except ssl.SSLError:
                try:
                    self._flush(end_mono)  # the alert that says why
                except OSError:
                    pass
                raise
            else:
                self._flush(end_mono)
                return f"{self._tls.version()} {(self._tls.cipher() or ('',))[0]} {self._is_verified}"

    def settimeout(self, value: float | None, /) -> None:
        """See `HopSocket.settimeout`."""
        self._timeout_s = value

    def sendall(self, data: bytes, /) -> None:
        """See `HopSocket.sendall`."""
        end = self._end()
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]
        self._flush(end)

    def recv(self, size: int, /) -> bytes:
        """See `HopSocket.recv`."""
        end = self._end()
        filled = 0
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush(end)
                filled += self._fill(end, _MOST_WITHOUT_CONTENT - filled)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def getpeername(self) -> Any:
        """See `HopSocket.getpeername`."""
        return self._sock.getpeername()

    def fileno(self) -> int:
        """The socket's descriptor, -1 where it has none."""
        fileno = getattr(self._sock, "fileno", None)
        return int(fileno()) if fileno is not None else -1

    def close(self) -> None:
        """Close; the other end is told, if that doesn't block."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # it waits for the other end's, which needs not come (RFC 8446 section 6.1)
        try:
            self._sock.settimeout(0)
            self._sock.sendall(self._out.read())
        except OSError:
            pass
        self._sock.close()

    def _end(self) -> float | None:
        return None if self._timeout_s is None else time.monotonic() + self._timeout_s

    def _wait(self, end_mono: float | None) -> None:
        if self._timeout_s == 0:
            self._sock.settimeout(0)
        elif end_mono is None:
            self._sock.settimeout(None)
        else:
            left = end_mono - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)

    def _flush(self, end_mono: float | None) -> None:
        data = self._out.read()
        if data:
            self._wait(end_mono)
            self._sock.sendall(data)

    def _fill(self, end_mono: float | None, most: int) -> int:
        """Read what came; how much it was. Raises OSError when no more than `most` may come, and it is 0."""
        if most <= 0:
            raise OSError("the other end sends nothing but TLS's own messages")
        self._wait(end_mono)
        data = self._sock.recv(min(_RECORD_BYTES, most))
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return len(data)
