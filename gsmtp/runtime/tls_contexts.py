"""The TLS contexts of one configuration: made when a view first needs one, shared by views that say the same.

`prepare` makes those of all stanzas before the configuration takes effect, so that a wrong file stops the start or the
reload and not a client. A reload makes all anew: certificates are picked up, running sessions keep what they have.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration, ListenStanza, client_address
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.core.address import parse_network
from gsmtp.core.errors import ConfigError
from gsmtp.runtime.tls import TlsContext, TlsLayer
from gsmtp.runtime.tls_settings import TlsFileError, TlsSettings, placed, settings_of
from gsmtp.smtp.options import SMTP_EXTENSIONS
from gsmtp.smtp.tls_options import TLS_CLIENT_CA, TLS_VERIFY_MODE, USE_SSL


@dataclass(slots=True)
class Made:
    """A context and what is told of it.

    Args:
        context: the engine's.
        settings: what it was made from.
        made_wall: when.
        used: connections that began with it.
    """

    context: TlsContext
    settings: TlsSettings
    made_wall: float
    used: int = 0

    def begin(self) -> TlsLayer:
        """The server side of a new connection."""
        self.used += 1
        return self.context.begin()


class TlsContexts:
    """Finds the context of a view."""

    def __init__(self) -> None:
        self._by_settings: dict[TlsSettings, Made] = {}
        self._by_view: dict[View, Made | None] = {}

    def of(self, view: View) -> Made | None:
        """The context for a view, None when it has no certificate. Raises ConfigError when it can't be made."""
        try:
            return self._by_view[view]
        except KeyError:
            pass
        settings = settings_of(view)
        made = None if settings is None else self._by_settings.get(settings)
        if made is None and settings is not None:
            try:
                made = Made(_make(settings, view), settings, time.time())
            except TlsFileError as error:
                raise placed(error, view) from error
            self._by_settings[settings] = made
        if made is None and view[USE_SSL]:
            setting = view.origin(USE_SSL).setting
            place = setting.value.span if setting is not None else "TLS"
            raise ConfigError(f"{place}: error: Use_SSL is true and there is no TLS_Certificate")
        self._by_view[view] = made
        return made

    def renewed(self) -> TlsContexts:
        """The same from the files as they are now. Reads files: for native threads. Raises ConfigError."""
        contexts = TlsContexts()
        for view in tuple(self._by_view):
            contexts.of(view)
        return contexts

    def __iter__(self) -> Iterator[Made]:
        return iter(tuple(self._by_settings.values()))


def prepare(configuration: Configuration) -> TlsContexts:
    """Make the contexts of all stanzas. Reads files: for native threads.

    Raises:
        ConfigError: a file can't be used, or TLS from the first byte is asked for without a certificate.
    """
    contexts = TlsContexts()
    for listen in configuration.listens:
        if listen.is_enabled:
            contexts.of(listen.view)
            for client in _one_of_each(listen):
                contexts.of(configuration.view_for(listen, str(client)))
    return contexts


def _one_of_each(listen: ListenStanza) -> Iterator[IPv4Address | IPv6Address]:
    """A client's address for each combination of Peers that clients of a socket can have.

    Networks lie within each other or apart, so each combination holds next to an end of one of them.
    """
    listener = listen.scope.parent
    peers = [*listen.scope.all("peer"), *(listener.all("peer") if listener is not None else ())]
    seen: set[tuple[Scope, ...]] = set()
    for peer in peers:
        network = parse_network(peer.spelled or peer.instance or "")
        first, last = int(network.network_address), int(network.broadcast_address)
        for number in (first, last, first - 1, last + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                address = client_address(str(type(network.network_address)(number)))
                found = (*listen.peers.matching(address), *listen.listener_peers.matching(address))
                if found not in seen:
                    seen.add(found)
                    yield address


def _make(settings: TlsSettings, view: View) -> TlsContext:
    if not settings.needs_pyopenssl:
        from gsmtp.runtime.tls_stdlib import StdlibContext

        return StdlibContext(settings)
    try:
        from gsmtp.runtime.tls_openssl import OpensslContext
    except ImportError as error:
        option: Option[Any] = SMTP_EXTENSIONS
        if settings.asks_client:
            option = TLS_CLIENT_CA if settings.client_ca else TLS_VERIFY_MODE
        what = "client certificates need" if settings.asks_client else "SCRAM-SHA-256-PLUS needs"
        raise TlsFileError(option, f"{what} pyOpenSSL: pip install 'gsmtp[tls]'") from error
    return OpensslContext(settings)
