"""TLS by pyOpenSSL: client certificates whose verdict doesn't end the session, and channel bindings.

The standard library ends the handshake for a certificate that doesn't verify; Momentum goes on and tells policy
(reference/esmtp-listener.md section 8.2). Installed by ``pip install gsmtp[tls]``; imported only where it is needed.
"""

from __future__ import annotations

from hashlib import new as new_hash
from typing import Any, Final

from OpenSSL import SSL, crypto

from gsmtp.runtime.tls import TlsFacts, TlsFault
from gsmtp.runtime.tls_files import DEFAULT_DH_FILE, as_file_error, chosen, load_dh, read_chain, read_issuers
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings
from gsmtp.smtp.tls_options import PROTOCOLS, TLS_CIPHERS, TLS_CLIENT_CA

_VERSIONS: Final = {
    "TLSv1.0": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
    "TLSv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
    "TLSv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
    "TLSv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
}
_NO_RENEGOTIATION: Final = 1 << 30
_ALLOW_CLIENT_RENEGOTIATION: Final = 1 << 8
_READ_BYTES: Final = 65_536
_ERRORS: Final = {
    value: " ".join("certificate" if word == "CERT" else word.lower() for word in name.split("_")[1:])
    for name, value in vars(SSL.X509VerificationCodes).items()
    if isinstance(value, int)
}


class OpensslContext:
    """Certificates and settings, made once and used by many connections.

    Args:
        settings: of the view.

    Raises:
        TlsFileError: a file can't be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._main = _context(settings, settings.certificate, settings.key)
        others = {name: _context(settings, path, "") for name, path in settings.others}
        if others:

            def choose(connection: SSL.Connection) -> None:
                name = connection.get_servername()
                other = chosen(others, name.decode("ascii", "replace") if name else None)
                if other is not None:
                    connection.set_context(other)

            self._main.set_tlsext_servername_callback(choose)

    def begin(self) -> OpensslLayer:
        """The server side of a new connection."""
        return OpensslLayer(self._main, has_bindings=self.settings.needs_bindings)


def _context(settings: TlsSettings, certificate: str, key: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    versions = settings.protocols.versions
    context.set_min_proto_version(_VERSIONS[versions[0]][0])
    context.set_max_proto_version(_VERSIONS[versions[-1]][0])
    options = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    for name in PROTOCOLS:
        if name not in versions:
            options |= _VERSIONS[name][1]
    if settings.renegotiation is not None:
        options |= _ALLOW_CLIENT_RENEGOTIATION if settings.renegotiation else _NO_RENEGOTIATION
    context.set_options(options)
    try:
        context.set_cipher_list(settings.cipher_list.encode())
    except (SSL.Error, ValueError) as error:
        raise TlsFileError(TLS_CIPHERS, f"'{settings.ciphers}': no cipher match") from error
    read_chain(certificate, key)
    try:
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key or certificate)
        context.check_privatekey()
    except (SSL.Error, crypto.Error) as error:
        raise as_file_error(error, certificate, key) from error
    if settings.has_dhe:
        load_dh(context.load_tmp_dh, settings.dh_file or DEFAULT_DH_FILE)
    if settings.asks_client:
        _ask_client(context, settings)
    # A resumed session would not show the client's certificate, and its tls-unique would be another.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    return context


def _ask_client(context: SSL.Context, settings: TlsSettings) -> None:
    """Ask for a certificate and go on whatever it is worth."""
    if settings.client_ca:
        read_issuers(settings.client_ca)
        try:
            context.load_verify_locations(settings.client_ca)
            context.set_client_ca_list(_names(settings.client_ca))
        except (SSL.Error, crypto.Error) as error:
            raise TlsFileError(TLS_CLIENT_CA, f"{settings.client_ca} can't be used: {error}") from error
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if settings.needs_client else 0)
    context.set_verify(mode, _remember)


def _names(path: str) -> list[crypto.X509Name]:
    """Subjects of the issuers, which tell clients whose certificates are wanted."""
    end = b"-----END CERTIFICATE-----"
    with open(path, "rb") as file:
        parts = file.read().split(end)[:-1]
    return [crypto.load_certificate(crypto.FILETYPE_PEM, part + end).get_subject() for part in parts]


def _remember(connection: SSL.Connection, _certificate: Any, number: int, _depth: int, is_good: int) -> bool:
    """OpenSSL asks whether to go on: always; the first trouble of the chain is kept for policy."""
    if not is_good:
        layer: OpensslLayer = connection.get_app_data()
        layer.verify_error = layer.verify_error or _ERRORS.get(number, f"error {number}")
    return True


class OpensslLayer:
    """One connection's TLS.

    Args:
        context: of the server.
        has_bindings: whether channel bindings are worked out.
    """

    __slots__ = ("_has_bindings", "_tls", "is_ended", "is_ready", "verify_error")

    def __init__(self, context: SSL.Context, *, has_bindings: bool) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._tls.set_app_data(self)
        self._has_bindings = has_bindings
        self.is_ready = False
        self.is_ended = False
        self.verify_error = ""

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext (b"": the peer closed), give what clear bytes it holds. Raises TlsFault."""
        if data:
            self._tls.bio_write(data)
        else:
            self._tls.bio_shutdown()
        try:
            if not self.is_ready:
                self._tls.do_handshake()
                self.is_ready = True
            return self._read()
        except SSL.WantReadError:
            return b""
        except (SSL.ZeroReturnError, SSL.SysCallError):
            self.is_ended = True
            return b""
        except SSL.Error as error:
            if not data and self.is_ready:
                self.is_ended = True
                return b""
            raise TlsFault(_words(error)) from error

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(self._tls.recv(_READ_BYTES))
        except SSL.WantReadError:
            pass
        except (SSL.ZeroReturnError, SSL.SysCallError):
            self.is_ended = True
        except SSL.Error:
            if not pieces:
                raise
            self.is_ended = True
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Take clear bytes to send."""
        self._tls.sendall(data)

    def data_to_send(self) -> bytes:
        """Ciphertext to write now."""
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(self._tls.bio_read(_READ_BYTES))
        except SSL.WantReadError:
            return b"".join(pieces)

    def close(self) -> None:
        """End our side: a close_notify waits in `data_to_send`."""
        try:
            self._tls.shutdown()
        except SSL.Error:
            pass

    def facts(self) -> TlsFacts:
        """What the handshake told."""
        tls = self._tls
        certificate = tls.get_peer_certificate()
        bits = tls.get_cipher_bits() or 0
        name = tls.get_servername()
        subject, subject_cn, issuer, issuer_cn = _identity(certificate)
        return TlsFacts(
            protocol=tls.get_protocol_version_name(),
            cipher=tls.get_cipher_name() or "",
            alg_bits=bits,
            use_bits=bits,
            client_subject=subject,
            client_subject_cn=subject_cn,
            client_issuer=issuer,
            client_issuer_cn=issuer_cn,
            is_verified=certificate is not None and not self.verify_error,
            verify_error=self.verify_error,
            channel_bindings=self._bindings() if self._has_bindings else {},
            server_name=name.decode("ascii", "replace") if name else "",
        )

    def _bindings(self) -> dict[str, bytes]:
        """RFC 9266 (tls-exporter) and RFC 5929 (the others; tls-unique only where it is sound)."""
        tls = self._tls
        found = {"tls-exporter": tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")}
        if tls.get_protocol_version_name() == "TLSv1.2":
            finished = tls.get_peer_finished()
            if finished:
                found["tls-unique"] = finished
        own = tls.get_certificate()
        if own is not None:
            found["tls-server-end-point"] = _end_point(own)
        return {name: value for name, value in found.items() if value}


def _end_point(certificate: crypto.X509) -> bytes:
    """The certificate's hash by the algorithm of its signature, SHA-256 in place of MD5 and SHA-1; b"" where it has
    none (RFC 5929 section 4.1)."""
    algorithm = certificate.to_cryptography().signature_hash_algorithm
    if algorithm is None:
        return b""
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return new_hash(name, crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)).digest()


def _identity(certificate: crypto.X509 | None) -> tuple[str, str, str, str]:
    """Subject, its CN, issuer, its CN, in OpenSSL's one-line form ``/C=…/CN=…``."""
    if certificate is None:
        return "", "", "", ""
    subject, issuer = certificate.get_subject(), certificate.get_issuer()
    return _one_line(subject), subject.CN or "", _one_line(issuer), issuer.CN or ""


def _one_line(name: crypto.X509Name) -> str:
    parts = ((key.decode("ascii", "replace"), value.decode("utf-8", "replace")) for key, value in name.get_components())
    return "".join(f"/{key}={value}" for key, value in parts)


def _words(error: SSL.Error) -> str:
    reasons = [str(part[2]) for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(reasons) or str(error) or "TLS failed"
