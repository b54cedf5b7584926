"""TLS as a machine: ciphertext in, clear bytes out and back, no socket. What a connection uses of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class TlsFault(Exception):
    """The handshake or a record failed; the text is for the log. What is to be sent (an alert) can still be fetched."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a finished handshake tells (reference/esmtp-listener.md section 8.2).

    Args:
        protocol: e.g. ``"TLSv1.3"``.
        cipher: the suite.
        alg_bits: key bits of its algorithm.
        use_bits: those that are secret.
        client_subject: one-line form, "" without a client certificate; likewise the three that follow.
        client_subject_cn: its common name.
        client_issuer: who signed it.
        client_issuer_cn: that one's common name.
        is_verified: whether the chain verified.
        verify_error: why it didn't, "".
        channel_bindings: by type.
        server_name: what the client asked for by SNI, "".
    """

    protocol: str
    cipher: str
    alg_bits: int = 0
    use_bits: int = 0
    client_subject: str = ""
    client_subject_cn: str = ""
    client_issuer: str = ""
    client_issuer_cn: str = ""
    is_verified: bool = False
    verify_error: str = ""
    channel_bindings: Mapping[str, bytes] = field(default_factory=dict)
    server_name: str = ""


class TlsLayer(Protocol):
    """One connection's TLS."""

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is over."""

    @property
    def is_ended(self) -> bool:
        """Whether the peer has ended its side (close_notify)."""

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext (b"": the peer closed), give what clear bytes it holds. Raises TlsFault."""

    def send(self, data: bytes) -> None:
        """Take clear bytes to send."""

    def data_to_send(self) -> bytes:
        """Ciphertext to write now; it is forgotten here."""

    def close(self) -> None:
        """End our side: a close_notify waits in `data_to_send`."""

    def facts(self) -> TlsFacts:
        """What the handshake told."""


class TlsContext(Protocol):
    """Certificates and settings of one effective configuration."""

    def begin(self) -> TlsLayer:
        """The server side of a new connection."""


def printable(text: str) -> str:
    """Text that a client chose, fit for logs and header fields: control characters as ``\\xNN``, as OpenSSL writes
    them."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02X}" for char in text)


def tls_variables(facts: TlsFacts) -> dict[str, str]:
    """The connection variables of a finished handshake (reference/esmtp-listener.md section 8.2).

    ``tls_protocol``, ``tls_server_name`` and ``tls_client_verify_error`` are ours. What isn't known is absent.
    """
    found = {
        "tls": "on",
        "tls_protocol": facts.protocol,
        "tls_cipher": facts.cipher,
        "tls_cipher_algbits": str(facts.alg_bits or ""),
        "tls_cipher_usebits": str(facts.use_bits or ""),
        "tls_server_name": facts.server_name,
        "tls_client_cert_subject": facts.client_subject,
        "tls_client_cert_subject_cn": facts.client_subject_cn,
        "tls_client_cert_issuer": facts.client_issuer,
        "tls_client_cert_issuer_cn": facts.client_issuer_cn,
        "tls_client_verified": "yes" if facts.is_verified else "",
        "tls_client_verify_error": facts.verify_error,
    }
    return {name: value for name, value in found.items() if value}
