"""TLS by pyOpenSSL: client certificates whose verdict doesn't end the session, and channel bindings.

The standard library ends the handshake for a certificate that doesn't verify; Momentum goes on and tells policy
(reference/esmtp-listener.md section 8.2). Installed by ``pip install gsmtp[tls]``; imported only where it is needed.
"""

from __future__ import annotations

from hashlib import new as new_hash
from typing import Any, Final

from cryptography.x509 import Name, ObjectIdentifier
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from gsmtp.runtime.tls import TlsFacts, TlsFault, printable
from gsmtp.runtime.tls_files import (
    DEFAULT_DH_FILE,
    as_file_error,
    by_name,
    chosen,
    load_dh,
    read_chain,
    read_issuers,
)
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings
from gsmtp.smtp.tls_options import TLS_CIPHERS, TLS_CLIENT_CA

_VERSIONS: Final = {
    "TLSv1.0": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
    "TLSv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
    "TLSv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
    "TLSv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
}
_NO_RENEGOTIATION: Final = 1 << 30
_ALLOW_CLIENT_RENEGOTIATION: Final = 1 << 8
_READ_BYTES: Final = 16_384  # a record has no more
_ERRORS: Final = {
    value: " ".join("certificate" if word == "CERT" else word.lower() for word in name.split("_")[1:])
    for name, value in vars(SSL.X509VerificationCodes).items()
    if isinstance(value, int)
}


_SHORT: Final = {
    NameOID.COMMON_NAME: "CN",
    NameOID.COUNTRY_NAME: "C",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.GIVEN_NAME: "GN",
    NameOID.LOCALITY_NAME: "L",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.STREET_ADDRESS: "street",
    NameOID.SURNAME: "SN",
    NameOID.TITLE: "title",
    NameOID.USER_ID: "UID",
}
"""OpenSSL's short names; what else there is has its number."""


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
        others = by_name(settings, lambda path: _context(settings, path, ""))
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
    for name in settings.protocols.left_out:
        options |= _VERSIONS[name][1]
    if settings.renegotiation is not None:
        options |= _ALLOW_CLIENT_RENEGOTIATION if settings.renegotiation else _NO_RENEGOTIATION
    context.set_options(options)
    try:
        context.set_cipher_list(settings.cipher_list.encode())
    except (SSL.Error, ValueError) as error:
        raise TlsFileError(TLS_CIPHERS, f"'{settings.ciphers}': no cipher match") from error
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # as the standard library does: an idle session holds none
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
            context.load_client_ca(settings.client_ca.encode())  # tells clients whose certificates are wanted
        except (SSL.Error, crypto.Error) as error:
            raise TlsFileError(TLS_CLIENT_CA, f"{settings.client_ca} can't be used: {error}") from error
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if settings.needs_client else 0)
    context.set_verify(mode, _remember)


def _remember(connection: SSL.Connection, _certificate: Any, number: int, _depth: int, is_good: int) -> bool:
    """OpenSSL asks whether to go on: always; the first trouble of the chain is kept for policy."""
    if not is_good:
        connection.get_app_data().append(_ERRORS.get(number, f"error {number}"))
    return True


class OpensslLayer:
    """One connection's TLS.

    Args:
        context: of the server.
        has_bindings: whether channel bindings are worked out.
    """

    __slots__ = ("_has_bindings", "_tls", "_troubles", "_unsent", "is_ended", "is_ready")

    def __init__(self, context: SSL.Context, *, has_bindings: bool) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._troubles: list[str] = []
        self._tls.set_app_data(self._troubles)  # not this layer: a circle would wait for the collector
        self._has_bindings = has_bindings
        self._unsent = b""
        self.is_ready = False
        self.is_ended = False

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
            clear = self._read()
            if self._unsent:
                self._write(b"")
            return clear
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
        self._write(data)

    def _write(self, data: bytes) -> None:
        """What a renegotiation of the client's holds up waits for its end."""
        unsent = self._unsent + data if self._unsent else data
        try:
            while unsent:
                unsent = unsent[self._tls.send(unsent) :]
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise TlsFault(_words(error)) from error
        self._unsent = unsent

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
            is_verified=certificate is not None and not self._troubles,
            verify_error=self._troubles[0] if self._troubles else "",
            channel_bindings=self._bindings() if self._has_bindings else {},
            server_name=printable(name.decode("ascii", "replace")) if name else "",
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
    """Subject, its CN, issuer, its CN, in OpenSSL's one-line form ``/C=…/CN=…``; "" for what can't be read."""
    if certificate is None:
        return "", "", "", ""
    try:
        known = certificate.to_cryptography()
        return *_name(known.subject), *_name(known.issuer)
    except ValueError:  # whatever a client may send
        return "", "", "", ""


def _name(name: Name) -> tuple[str, str]:
    parts = [(_short(part.oid), printable(_text(part.value))) for part in name]
    return "".join(f"/{key}={value}" for key, value in parts), next((value for key, value in parts if key == "CN"), "")


def _short(oid: ObjectIdentifier) -> str:
    return _SHORT.get(oid) or oid.dotted_string


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _words(error: SSL.Error) -> str:
    reasons = [str(part[2]) for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(reasons) or str(error) or "TLS failed"
