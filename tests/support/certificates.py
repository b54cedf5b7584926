"""Certificates for tests: authorities of their own, and what they issue, as PEM files.

Made with the library `cryptography` rather than kept in files, so that nothing expires and every kind can be had.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "gsmtp tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _new_key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key.

    Args:
        certificate: PEM.
        key: PEM.
    """

    certificate: bytes
    key: bytes

    def write(self, path: Path, key_path: Path | None = None) -> Path:
        """Write both into one file, or the key into its own."""
        path.write_bytes(self.certificate + (b"" if key_path else self.key))
        if key_path is not None:
            key_path.write_bytes(self.key)
        return path


class Authority:
    """A certificate authority.

    Args:
        name: its common name.
    """

    def __init__(self, name: str) -> None:
        self._key = _new_key("ec")
        self._name = _name(name)
        now = datetime.datetime.now(datetime.UTC)
        builder = self._builder(self._name, self._key, now - _DAY, now + 30 * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: Key, start: datetime.datetime, end: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )

    def write(self, path: Path) -> Path:
        """Write its certificate."""
        path.write_bytes(self.certificate)
        return path

    @property
    def own(self) -> Certificate:
        """What it has signed itself, with its key."""
        return Certificate(self.certificate, _pem(self._key))

    def issue(
        self, name: str, *, kind: str = "ec", is_expired: bool = False, is_for_clients: bool = True
    ) -> Certificate:
        """A certificate for a host name, or a client of that name; it serves for both ends of TLS unless told."""
        key = _new_key(kind)
        now = datetime.datetime.now(datetime.UTC)
        start, end = (now - 3 * _DAY, now - _DAY) if is_expired else (now - _DAY, now + 30 * _DAY)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if is_for_clients else [])]
        certificate = (
            self._builder(_name(name), key, start, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))
