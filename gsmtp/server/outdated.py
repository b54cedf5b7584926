"""Whether a new configuration says the same for a session as the one it began under.

Only what a session resolves is compared: options of the inbound scopes that are served, and the names of its pathway
and group. Options of sockets, spool and delivery change under a running session without it noticing; so does what only
a handshake looks at, for its handshake is over, or will be another one.

Source: reference/esmtp-listener.md section 12.
"""

from __future__ import annotations

import functools

from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.view import View
from gsmtp.smtp.tls_options import (
    TLS_ALLOW_RENEGOTIATION,
    TLS_CERTIFICATE,
    TLS_CERTIFICATES,
    TLS_CIPHERS,
    TLS_CLIENT_CA,
    TLS_HANDSHAKE_TIMEOUT,
    TLS_KEY,
    TLS_PROTOCOLS,
    TLS_VERIFY_MODE,
    has_certificate,
)

_OF_HANDSHAKES = frozenset(
    option.name
    for option in (
        TLS_ALLOW_RENEGOTIATION,
        TLS_CERTIFICATE,
        TLS_CERTIFICATES,
        TLS_CIPHERS,
        TLS_CLIENT_CA,
        TLS_HANDSHAKE_TIMEOUT,
        TLS_KEY,
        TLS_PROTOCOLS,
        TLS_VERIFY_MODE,
    )
)


@functools.cache
def _session_options() -> tuple[Option[object], ...]:
    return tuple(
        option
        for option in OPTIONS
        if "pathway" in option.scopes and not option.unserved and option.name not in _OF_HANDSHAKES
    )


class SessionComparison:
    """Compares views pairwise and remembers the answers: many sessions share few views."""

    def __init__(self) -> None:
        self._known: dict[tuple[View, View], bool] = {}

    def is_same(self, old: View, new: View) -> bool:
        """Whether a session under `old` would see no difference under `new`."""
        key = (old, new)
        same = self._known.get(key)
        if same is None:
            same = self._known[key] = _is_same(old, new)
        return same


def _is_same(old: View, new: View) -> bool:
    if (old.pathway, old.group) != (new.pathway, new.group):
        return False
    if has_certificate(old) != has_certificate(new):
        return False  # whether STARTTLS is offered
    return all(old[option] == new[option] for option in _session_options())
