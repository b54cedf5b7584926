"""What the checker says of logins, socket by socket: mechanisms without a store, passwords in the clear, open doors.

Source: reference/esmtp-listener.md sections 6.3, 11.1 and 11.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from gsmtp.config.common import USE_SSL
from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scope, Setting
from gsmtp.sasl.mechanism import Mechanism, load_mechanisms
from gsmtp.smtp.auth_options import (
    ALWAYS_ALLOW,
    ALWAYS_DENY,
    AUTH_PARAMETERS,
    AUTH_REQUIRES_TLS,
    ENABLE_AUTHENTICATION,
)
from gsmtp.smtp.ext.auth import is_usable, listed_mechanisms
from gsmtp.smtp.options import SMTP_EXTENSIONS


@late_rule
def check_logins(configuration: Configuration, problems: Problems) -> None:
    """Look at each socket; each thing is told once, at the setting that it comes from."""
    told: set[tuple[int, str]] = set()
    for listen in configuration.listens:
        for setting, what, hint, code in _found(listen):
            if (id(setting), what) not in told:
                told.add((id(setting), what))
                problems.warning(setting.span, what, hint=hint, code=code)


def _found(listen: ListenStanza) -> Iterator[tuple[Setting, str, str, str]]:
    view = listen.view
    for around in (view, *(view.derive((peer,)) for peer in _peers_of(listen.scope) if _is_everybody(peer))):
        always = around.origin(ALWAYS_ALLOW)
        if always.value and always.setting is not None and not around[ALWAYS_DENY] and not _is_local(listen):
            yield (
                always.setting,
                f"Always_Allow is true for every client of {scope_title(listen.scope)}: an open relay",
                "put it in a Peer stanza that names the networks that may relay",
                "open-relay",
            )
    enabled = view.origin(ENABLE_AUTHENTICATION)
    setting = view.origin(SMTP_EXTENSIONS).setting
    if setting is None or (enabled.setting is not None and not enabled.value):
        return
    known = load_mechanisms()
    listed = [one for name in listed_mechanisms(view) if (one := known.get(name)) is not None]
    for mechanism in listed:
        option = AUTH_PARAMETERS.get(mechanism.option)
        if option is not None and not is_usable(mechanism, view) and not _is_set_below(listen.scope, option):
            yield (
                setting,
                f"AUTH {mechanism.name} is listed and not offered: {option.name} is not set",
                f'name a store, e.g. {option.name} = [ uri = "file:///etc/gsmtp/users" ]',
                "auth-without-store",
            )
    yield from _in_the_clear(listen, setting, [one for one in listed if is_usable(one, view)])


def _in_the_clear(
    listen: ListenStanza, setting: Setting, usable: list[Mechanism]
) -> Iterator[tuple[Setting, str, str, str]]:
    view = listen.view
    names = " and ".join(sorted(mechanism.name for mechanism in usable if mechanism.is_cleartext))
    if not names or view[USE_SSL]:
        return
    if not view[AUTH_REQUIRES_TLS]:
        if not _is_local(listen):
            yield (
                setting,
                f"passwords of AUTH {names} may come without TLS: whoever listens on the way reads them",
                "set Auth_Requires_TLS = true",
                "cleartext-auth",
            )
    elif "STARTTLS" not in view[SMTP_EXTENSIONS]:
        yield (
            setting,
            f"AUTH {names} is never offered: Auth_Requires_TLS is true, and there is neither STARTTLS nor Use_SSL",
            'list "STARTTLS" in SMTP_Extensions',
            "auth-without-tls",
        )


def _peers_of(scope: Scope) -> Iterator[Scope]:
    """The Peer stanzas of a socket and of its listener."""
    for holder in (scope, scope.parent):
        if holder is not None:
            yield from holder.all("peer")


def _is_everybody(peer: Scope) -> bool:
    return (peer.spelled or "").endswith("/0")


def _is_set_below(scope: Scope, option: Option[dict[str, str]]) -> bool:
    """Whether some Peer of the socket or of its listener sets an option."""
    return any(option.key in peer.settings for peer in _peers_of(scope))


def _is_local(listen: ListenStanza) -> bool:
    return listen.endpoint.family == "unix" or ip_address(listen.endpoint.host).is_loopback
