"""The options of TLS, as the machine (is STARTTLS offered?) and `gsmtp.runtime.tls_contexts` read them.

Source: reference/esmtp-listener.md section 8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gsmtp.config import kinds
from gsmtp.config.common import USE_SSL as USE_SSL
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.option import GLOBAL, INBOUND, INBOUND_GLOBAL, Option, declare
from gsmtp.config.tree import Scope, Setting, Value
from gsmtp.config.view import View

PROTOCOLS: Final = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
OLD_PROTOCOLS: Final = ("TLSv1.0", "TLSv1.1")
_NEVER = ("SSLv2", "SSLv3")
_BOTH_SIDES = (*INBOUND_GLOBAL, "binding", "binding_group", "domain")
_WORDS = {word.lower(): word for word in ("ALL", *_NEVER, *PROTOCOLS)} | {"tlsv1": "TLSv1.0"}


@dataclass(frozen=True, slots=True)
class Protocols:
    """Versions of TLS that are spoken.

    Args:
        versions: some of PROTOCOLS, in that order.
        old: those of OLD_PROTOCOLS that the configuration names with ``+``: the library is told to allow what it
            needs for them.
    """

    versions: tuple[str, ...]
    old: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Those between the least and the most that are not spoken."""
        first, last = PROTOCOLS.index(self.versions[0]), PROTOCOLS.index(self.versions[-1])
        return tuple(name for name in PROTOCOLS[first:last] if name not in self.versions)


def _protocols(value: Value) -> Protocols:
    """``+ALL:-SSLv3:+TLSv1.0``: from the left, each word takes away or adds."""
    on: set[str] = set()
    old: set[str] = set()
    for part in kinds.scalar_text(value).replace(" ", "").split(":"):
        sign, name = (part[0], part[1:]) if part[:1] in ("+", "-") else ("+", part)
        word = _WORDS.get(name.lower())
        if word is None:
            known = ", ".join(("ALL", *_NEVER, *PROTOCOLS))
            raise ValueError(f"'{part}' is no protocol; expected + or - and one of {known}, joined by ':'")
        words = PROTOCOLS if word == "ALL" else (word,)
        if sign == "-":
            on.difference_update(words)
            old.difference_update(words)
        elif word not in _NEVER:  # named in old files with +; what they name is gone from every library
            on.update(words)
            old.update({word} & set(OLD_PROTOCOLS))
    if not on:
        raise ValueError("no version of TLS is left")
    return Protocols(tuple(name for name in PROTOCOLS if name in on), tuple(sorted(old)))


PROTOCOL_LIST: Kind[Protocols] = Kind(
    "protocols",
    _protocols,
    "protocols such as +ALL:-TLSv1.2 (ALL, TLSv1.0 to TLSv1.3)",
    show=lambda value: ":".join(f"+{name}" for name in value.versions),
)


def _path_or_none(value: Value) -> str:
    text = kinds.path.parse(value)
    return "" if text.lower() == "none" else text


PATH_OR_NONE: Kind[str] = Kind("path", _path_or_none, "a path, or none")

TLS_CERTIFICATE: Option[str] = declare(
    Option(
        name="TLS_Certificate",
        kind=PATH_OR_NONE,
        default="",
        scopes=_BOTH_SIDES,
        doc="PEM file with the certificate and its chain, and the key unless TLS_Key names it. ``none`` takes back "
        "what a wider scope sets. Shown to next hosts, too, where they ask for one. Read anew by each reload.",
        source="Momentum: tls_certificate",
    )
)

TLS_KEY: Option[str] = declare(
    Option(
        name="TLS_Key",
        kind=PATH_OR_NONE,
        default="",
        scopes=_BOTH_SIDES,
        doc="PEM file with the key, if TLS_Certificate's doesn't hold it. Not used with a certificate of a narrower "
        "scope.",
        source="Momentum: tls_key",
    )
)

_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.ASCII | re.IGNORECASE)


def _examine_certificates(value: dict[str, str], setting: Setting, scope: Scope, problems: Problems) -> None:
    for name in value:
        if not _HOST_NAME.fullmatch(name):
            problems.error(
                setting.value.span,
                f"{setting.spelled}: '{name}' is no host name that a client could ask for",
                hint="write mx.example.com, *.example.com, or xn--… for a name in other letters",
                code="bad-value",
            )


TLS_CERTIFICATES: Option[dict[str, str]] = declare(
    Option(
        name="TLS_Certificates",
        kind=kinds.dictionary,
        default={},
        scopes=INBOUND_GLOBAL,
        doc='Certificates by the name that the client asks for (SNI): ``[ "mx2.example.com" = "/path.pem" ]``, each '
        "file with its key; ``*.example.com`` is any name one label below. Others get TLS_Certificate.",
        source="RFC 6066 section 3",
        ours=True,
        examine=_examine_certificates,
    )
)

TLS_CLIENT_CA: Option[str] = declare(
    Option(
        name="TLS_Client_CA",
        kind=PATH_OR_NONE,
        default="",
        scopes=INBOUND_GLOBAL,
        doc="PEM file of issuers by which clients' certificates are verified. Needs `pip install gsmtp[tls]`.",
        source="Momentum: tls_client_ca",
    )
)

TLS_VERIFY_MODE: Option[str] = declare(
    Option(
        name="TLS_Verify_Mode",
        kind=kinds.word,
        default="optional",
        scopes=INBOUND,
        doc="``none``: no client certificate is asked for. ``require``: the handshake fails without one. Anything "
        "else: one is asked for where TLS_Client_CA is set. A certificate that doesn't verify never ends the session: "
        "the connection variables tls_client_verified and tls_client_verify_error tell.",
        source="Momentum: tls_verify_mode",
    )
)

TLS_VERIFIED_PEER_CAN_RELAY: Option[bool] = declare(
    Option(
        name="TLS_Verified_Peer_Can_Relay",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND,
        doc="Whether a client whose certificate verified may send to any domain.",
        source="Momentum: tls_verified_peer_can_relay",
    )
)


def _examine_ciphers(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    if not value.strip():
        problems.error(setting.value.span, f"{setting.spelled} is empty", code="bad-value")


TLS_CIPHERS: Option[str] = declare(
    Option(
        name="TLS_Ciphers",
        kind=kinds.line,
        default="DEFAULT",
        scopes=_BOTH_SIDES,
        doc="OpenSSL cipher list for TLS up to 1.2, e.g. ``DEFAULT:!LOW:!EXP``. The suites of TLS 1.3 stay as they "
        "are.",
        source="Momentum: tls_ciphers",
        examine=_examine_ciphers,
    )
)


def _examine_protocols(value: Protocols, setting: Setting, scope: Scope, problems: Problems) -> None:
    if value.old:
        problems.warning(
            setting.value.span,
            f"{setting.spelled} allows {' and '.join(value.old)}, which RFC 8996 forbids",
            hint="for these OpenSSL's security level is lowered to 0; take them away if you can",
            code="old-tls",
        )


TLS_PROTOCOLS: Option[Protocols] = declare(
    Option(
        name="TLS_Protocols",
        kind=PROTOCOL_LIST,
        default=Protocols(("TLSv1.2", "TLSv1.3")),
        scopes=_BOTH_SIDES,
        doc="Versions that are spoken, from the left: ``+ALL:-TLSv1.2``. ALL is what the library allows; SSLv2 and "
        "SSLv3 are never spoken, TLSv1.0 and TLSv1.1 only where they are named with ``+``.",
        source="RFC 8996; Momentum: tls_protocols",
        examine=_examine_protocols,
    )
)

TLS_ALLOW_RENEGOTIATION: Option[bool] = declare(
    Option(
        name="TLS_Allow_Renegotiation",
        kind=kinds.boolean,
        default=True,
        scopes=INBOUND,
        doc="false refuses every renegotiation; true, where it is set, lets clients of TLS 1.2 ask for one, which the "
        "library refuses by itself otherwise. TLS 1.3 has none.",
        source="Momentum: tls_allow_renegotiation",
    )
)

STARTTLS_INJECTION_POLICY: Option[str] = declare(
    Option(
        name="STARTTLS_Injection_Policy",
        kind=kinds.enumeration("reject", "ignore", "allow"),
        default="reject",
        scopes=INBOUND,
        doc="What becomes of data that came in clear behind STARTTLS: ``reject`` refuses with 503 and closes, "
        "``ignore`` throws it away, ``allow`` takes it as if it had come under TLS, with a warning in the log.",
        source="CVE-2011-0411; RFC 3207 section 4.2",
    )
)

TLS_HANDSHAKE_TIMEOUT: Option[int] = declare(
    Option(
        name="TLS_Handshake_Timeout",
        kind=kinds.integer_between(1, 3600),
        default=30,
        scopes=INBOUND,
        unit="seconds",
        doc="How long a handshake may take in all; then the connection is closed.",
        source="gsmtp",
        ours=True,
    )
)

TLS_DHPARAMS_FILE: Option[str] = declare(
    Option(
        name="TLS_DHParams_File",
        kind=kinds.path,
        default="",
        scopes=GLOBAL,
        doc="PEM file with Diffie-Hellman parameters for the DHE suites of TLS 1.2; by default the group ffdhe2048.",
        source="RFC 7919 appendix A.1; Momentum: tls_dhparams_file",
    )
)

TLS_ENABLE_DHE_CIPHERS: Option[bool] = declare(
    Option(
        name="TLS_Enable_DHE_Ciphers",
        kind=kinds.boolean,
        default=True,
        scopes=GLOBAL,
        doc="Whether the DHE suites of TLS 1.2 may be used; ECDHE stays in any case.",
        source="Momentum: tls_enable_dhe_ciphers",
    )
)


def _examine_engine(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    if value != "openssl":
        problems.warning(
            setting.value.span,
            f"{setting.spelled} = {value} is not served: OpenSSL is used",
            code="not-served",
        )


TLS_ENGINE: Option[str] = declare(
    Option(
        name="TLS_Engine",
        kind=kinds.enumeration("openssl", "gnutls"),
        default="openssl",
        scopes=GLOBAL,
        doc="The TLS library. OpenSSL is the only one.",
        dynamic=False,
        source="Momentum: tls_engine",
        examine=_examine_engine,
    )
)


def has_certificate(view: View) -> bool:
    """Whether there is a certificate with which TLS could be spoken."""
    return bool(view[TLS_CERTIFICATE])


def offers_starttls(view: View) -> bool:
    """Whether STARTTLS may be offered: a certificate, and no TLS from the first byte on the same socket."""
    return has_certificate(view) and not view[USE_SSL]


def asks_client_certificate(view: View) -> bool:
    """Whether clients are asked for a certificate (reference/esmtp-listener.md section 8.2)."""
    mode = view[TLS_VERIFY_MODE].lower()
    return mode == "require" or (mode != "none" and bool(view[TLS_CLIENT_CA]))
