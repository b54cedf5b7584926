"""Warnings at load where everybody is trusted with what is meant for few: private extensions, Proxy_Protocol.

Source: reference/esmtp-listener.md section 9 ("should not be enabled for public Internet facing listeners").
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Setting
from gsmtp.smtp.extension import is_private
from gsmtp.smtp.options import SMTP_EXTENSIONS

_DANGERS: Final = {
    "XCLIENT": "it lets a client pass for any other, logged in or not",
    "XREMOTEIP": "it lets a client pass for any other",
    "XSETCONTEXT": "it lets a client set any context variable, can_relay too: an open relay",
    "XDUMPCONTEXT": "it shows a client what policy knows of it",
    "XFORWARD": "it lets a client say where mail comes from",
}
_OTHER: Final = "private extensions are for trusted clients"
_HINT: Final = "put it in a Peer stanza that names the hosts that are trusted"


@late_rule
def private_extensions(configuration: Configuration, problems: Problems) -> None:
    """Warn about XCLIENT and its like for everybody."""
    for listen, setting, names in _for_everybody(configuration, SMTP_EXTENSIONS):
        for name in (word for word in names if is_private(word)):
            problems.warning(
                setting.span,
                f"{name} is offered to every client of {scope_title(listen.scope)}: {_DANGERS.get(name, _OTHER)}",
                hint=_HINT,
                code="trusted-extension",
            )


@late_rule
def proxy_protocol(configuration: Configuration, problems: Problems) -> None:
    """Warn about headers that are taken from everybody."""
    option = OPTIONS.find("listen", "proxy_protocol")
    for listen, setting, value in _for_everybody(configuration, option) if option is not None else ():
        if value != option.default:  # type: ignore[union-attr]  # there is one
            problems.warning(
                setting.span,
                f"every client of {scope_title(listen.scope)} has to send a PROXY header and is believed: whoever "
                "reaches the socket can pass for any other",
                hint=_HINT.replace("it in", "Proxy_Protocol in").replace("hosts that are trusted", "proxies"),
                code="trusted-proxy",
            )


def _for_everybody(configuration: Configuration, option: Option[Any]) -> Iterator[tuple[ListenStanza, Setting, Any]]:
    """Each setting of an option that holds for all clients of a socket that the network reaches, once."""
    seen: set[int] = set()
    for listen in configuration.listens:
        if not listen.is_enabled or _is_local(listen):
            continue
        everyone = [
            peer
            for scope in (listen.scope, listen.scope.parent)
            for peer in (scope.all("peer") if scope is not None else ())
            if (peer.spelled or "").endswith("/0")
        ]
        for view in (listen.view, *(listen.view.derive((peer,)) for peer in everyone)):
            origin = view.origin(option)
            if origin.setting is not None and id(origin.setting) not in seen:
                seen.add(id(origin.setting))
                yield listen, origin.setting, origin.value


def _is_local(listen: ListenStanza) -> bool:
    return listen.endpoint.family == "unix" or ip_address(listen.endpoint.host).is_loopback
