"""The TLS contexts of one configuration: made when a view first needs one, shared by views that say the same.

`prepare` makes those of all stanzas before the configuration takes effect, so that a wrong file stops the start or the
reload and not a client. A reload makes all anew: certificates are picked up, running sessions keep what they have.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
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
        self._by_view[view] = made
        return made

    def flush(self) -> None:
        """Forget all contexts: the next connection makes its own, from the files as they are then."""
        self._by_settings.clear()
        self._by_view.clear()

    def __iter__(self) -> Iterator[Made]:
        return iter(self._by_settings.values())


def prepare(configuration: Configuration) -> TlsContexts:
    """Make the contexts of all stanzas. Reads files: for native threads.

    Raises:
        ConfigError: a file can't be used, or TLS from the first byte is asked for without a certificate.
    """
    contexts = TlsContexts()
    for view in _views(configuration):
        made = contexts.of(view)
        if made is None and view[USE_SSL]:
            setting = view.origin(USE_SSL).setting
            place = setting.value.span if setting is not None else "TLS"
            raise ConfigError(f"{place}: error: Use_SSL is true and there is no TLS_Certificate")
    return contexts


def _views(configuration: Configuration) -> Iterator[View]:
    """A view for each Listen that is on, for each Peer on it, and for each of them under each Pathway that is named."""
    for listen in configuration.listens:
        if not listen.is_enabled:
            continue
        yield listen.view
        listener = listen.scope.parent
        for scope in (listen.scope, *((listener,) if listener is not None else ())):
            for peer in scope.all("peer"):
                network = (peer.spelled or peer.instance or "").partition("/")[0]
                yield configuration.view_for(listen, network)


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
