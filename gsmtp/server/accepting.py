"""Taking connections out of a listening socket: as many as wait there and may come.

A file of its own because it runs for every connection and is compiled; a gevent server can't be.
"""

from __future__ import annotations

import _socket
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsmtp.server.listener import Listener

log = logging.getLogger("gsmtp.net")


def accept_waiting(listener: Listener) -> None:
    """Accept what waits on a listener's socket, up to `max_accept`, and give it each one."""
    accept = listener.socket._accept  # type: ignore[attr-defined]
    for _ in range(listener.max_accept):
        if not listener.may_accept():
            return
        try:
            descriptor, address = accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            listener.cannot_accept(error)
            return
        listener.has_complained = False
        raw = _socket.socket(listener.family, _socket.SOCK_STREAM, 0, descriptor)
        try:
            raw.setblocking(False)
            listener.do_handle(raw, address)
        except Exception:
            # accepting goes on: one client's trouble must not cost the others that
            log.exception("a connection to %s could not be established", listener.stanza.name)
            raw.close()
