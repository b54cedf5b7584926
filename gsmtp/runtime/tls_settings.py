"""What a view says about TLS as one value: what a context is made from, and by which it is shared.

Paths are paired here: a key of a wider scope is not used with a certificate of a narrower one
(reference/scopes-and-fallback.md section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gsmtp.config.diagnostics import Span
from gsmtp.config.option import Option
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.smtp.options import SMTP_EXTENSIONS
from gsmtp.smtp.tls_options import (
    TLS_ALLOW_RENEGOTIATION,
    TLS_CERTIFICATE,
    TLS_CERTIFICATES,
    TLS_CIPHERS,
    TLS_CLIENT_CA,
    TLS_DHPARAMS_FILE,
    TLS_ENABLE_DHE_CIPHERS,
    TLS_KEY,
    TLS_PROTOCOLS,
    TLS_VERIFY_MODE,
    Protocols,
    asks_client_certificate,
    has_certificate,
)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """One server side of TLS.

    Args:
        certificate: path of the PEM file with the chain.
        key: path of the key, "" when the certificate's file holds it.
        others: (name in lower case, path) by which SNI chooses; a name may begin with ``*.``.
        client_ca: path of issuers for clients' certificates, "".
        asks_client: whether clients are asked for a certificate.
        needs_client: whether the handshake fails without one.
        ciphers: OpenSSL cipher list.
        protocols: versions.
        renegotiation: None leaves it to the library, else whether a client may ask for one.
        dh_file: path of DH parameters, "" for the built-in group.
        has_dhe: whether DHE suites may be used.
        needs_bindings: whether channel bindings are wanted (SCRAM-…-PLUS is listed).
    """

    certificate: str
    key: str = ""
    others: tuple[tuple[str, str], ...] = ()
    client_ca: str = ""
    asks_client: bool = False
    needs_client: bool = False
    ciphers: str = "DEFAULT"
    protocols: Protocols = TLS_PROTOCOLS.default
    renegotiation: bool | None = None
    dh_file: str = ""
    has_dhe: bool = True
    needs_bindings: bool = False

    @property
    def needs_pyopenssl(self) -> bool:
        """Whether the standard library can't do it: it ends the handshake for a bad client certificate, and exports
        no keying material (RFC 9266)."""
        return self.asks_client or self.needs_bindings

    @property
    def cipher_list(self) -> str:
        """What OpenSSL is told; old protocols need its security level 0."""
        words = [self.ciphers]
        if not self.has_dhe:
            words.append("!kDHE")
        if self.protocols.old:
            words.append("@SECLEVEL=0")
        return ":".join(words)


def settings_of(view: View) -> TlsSettings | None:
    """What a view says, or None when it has no certificate."""
    if not has_certificate(view):
        return None
    renegotiation = view.origin(TLS_ALLOW_RENEGOTIATION)
    words = [word.upper() for text in view[SMTP_EXTENSIONS] for word in text.split()]
    return TlsSettings(
        certificate=view[TLS_CERTIFICATE],
        key=paired_key(view),
        others=tuple((name.lower().rstrip("."), path) for name, path in view[TLS_CERTIFICATES].items()),
        client_ca=view[TLS_CLIENT_CA],
        asks_client=asks_client_certificate(view),
        needs_client=view[TLS_VERIFY_MODE].lower() == "require",
        ciphers=view[TLS_CIPHERS],
        protocols=view[TLS_PROTOCOLS],
        renegotiation=renegotiation.value if renegotiation.setting is not None else None,
        dh_file=view[TLS_DHPARAMS_FILE],
        has_dhe=view[TLS_ENABLE_DHE_CIPHERS],
        needs_bindings=any(word.endswith("-PLUS") for word in words),
    )


def paired_key(view: View) -> str:
    """The key's file, unless a narrower scope sets the certificate."""
    certificate, key = view.origin(TLS_CERTIFICATE), view.origin(TLS_KEY)
    if not key.value or certificate.scope is None or key.scope is None:
        return ""
    return key.value if view.chain.index(key.scope) <= view.chain.index(certificate.scope) else ""


class TlsFileError(Exception):
    """A file or value that a context can't be made from.

    Args:
        option: whose value it is.
        text: what is wrong.
    """

    def __init__(self, option: Option[Any], text: str) -> None:
        super().__init__(text)
        self.option = option


def placed(error: TlsFileError, view: View) -> ConfigError:
    """The error with the place of the setting that it is about."""
    setting = view.origin(error.option).setting or view.origin(TLS_CERTIFICATE).setting
    span: Span | str = setting.value.span if setting is not None else "TLS"
    return ConfigError(f"{span}: error: {error.option.name}: {error}")
