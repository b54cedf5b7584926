"""What the checker says of TLS, socket by socket: what is listed and can't be offered, and certificates for nobody.

Source: reference/esmtp-listener.md section 8.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scope, Setting
from gsmtp.config.view import View
from gsmtp.smtp.options import SMTP_EXTENSIONS
from gsmtp.smtp.tls_options import (
    TLS_CERTIFICATE,
    TLS_CERTIFICATES,
    TLS_CLIENT_CA,
    TLS_VERIFY_MODE,
    USE_SSL,
    has_certificate,
)


@late_rule
def check_tls(configuration: Configuration, problems: Problems) -> None:
    """Look at each socket; each thing is told once, at the setting that it comes from."""
    told: set[tuple[int, str]] = set()
    for listen in configuration.listens:
        for setting, what, hint, code in _found(listen):
            if setting is not None and (id(setting), code) not in told:
                told.add((id(setting), code))
                problems.warning(setting.span, what, hint=hint, code=code)


def _found(listen: ListenStanza) -> Iterator[tuple[Setting | None, str, str, str]]:
    view = listen.view
    where = scope_title(listen.scope)
    if not has_certificate(view) and not _is_set_below(listen.scope, TLS_CERTIFICATE):
        listed = view.origin(SMTP_EXTENSIONS)
        if any(word.upper() == "STARTTLS" for word in listed.value) and not view[USE_SSL]:
            yield (
                listed.setting,
                f"STARTTLS is not offered on {where}: there is no TLS_Certificate",
                "set TLS_Certificate to a PEM file with certificate, chain and key",
                "no-certificate",
            )
        yield (
            view.origin(TLS_CERTIFICATES).setting,
            f"TLS_Certificates is not used on {where}: there is no TLS_Certificate",
            "set TLS_Certificate for clients that ask for no name, or another one",
            "no-certificate",
        )
    if _requires_unknown(view):
        yield (
            view.origin(TLS_VERIFY_MODE).setting,
            f"TLS_Verify_Mode is require on {where} and no certificate verifies: there is no TLS_Client_CA",
            "set TLS_Client_CA to a PEM file of issuers",
            "no-client-ca",
        )


def _requires_unknown(view: View) -> bool:
    return has_certificate(view) and view[TLS_VERIFY_MODE].lower() == "require" and not view[TLS_CLIENT_CA]


def _is_set_below(scope: Scope, option: Option[str]) -> bool:
    """Whether a Peer of the socket sets it."""
    listener = scope.parent
    name = option.name.lower()
    peers = (*scope.all("peer"), *(listener.all("peer") if listener is not None else ()))
    return any(name in peer.settings for peer in peers)
