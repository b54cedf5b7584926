"""Listening sockets: made, configured, bound and put into listening state before a server sees them.

Raw ``_socket`` objects, non-blocking: gevent's wrapper would make two watchers a socket, which every connection
would pay for. Source: reference/esmtp-listener.md section 2; reference/config-language.md section 12.1.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
from collections.abc import Callable, Collection

from gsmtp.config.view import View
from gsmtp.core.address import Endpoint
from gsmtp.core.errors import GsmtpError
from gsmtp.runtime.options import FILE_MODE, LISTEN_BACKLOG
from gsmtp.runtime.sockopts import When, rows

RawSocket = _socket.socket
_FAMILIES = {"inet": _socket.AF_INET, "inet6": _socket.AF_INET6, "unix": _socket.AF_UNIX}


class BindError(GsmtpError):
    """A socket could not be made; the text says which and why."""


def open_listening(
    endpoint: Endpoint, view: View, others: Collection[RawSocket] = (), *, is_first: bool = False
) -> RawSocket:
    """Make the socket of a Listen: options, bind, listen.

    `Listen_Backlog` is the argument of ``listen(2)``; ``*`` is IPv4 and ``[*]`` IPv6 only, so both may be
    configured for one port.

    Args:
        endpoint: what to bind.
        view: its options.
        others: our own sockets on the same port, on all addresses where this is on one of them or the other way
            round. The kernel gives each connection to the most specific one.
        is_first: whether others are going to be opened on the very same address, among which the kernel distributes
            connections. Nobody else may have it when the first one is bound.

    Raises:
        BindError: it can't be made.
    """
    family = _FAMILIES[endpoint.family]
    raw = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        for sharing in [raw, *others] if others else ():
            # processes of other users can't share it; a second server of ours is stopped by the spool's lock
            sharing.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        raw.setblocking(False)
        if endpoint.family == "unix":
            _bind_unix(raw, endpoint.host, view[FILE_MODE])
        else:
            raw.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if endpoint.family == "inet6":
                raw.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            _apply(raw, view, When.BEFORE_BIND)
            raw.bind((endpoint.host, endpoint.port))
            if is_first:
                raw.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        configure(raw, view)
    except OSError as error:
        raw.close()
        raise BindError(f"can't listen on {endpoint}: {_explain(error)}") from error
    return raw


def configure(raw: RawSocket, view: View) -> None:
    """Set what can be set on a bound socket and (again) call ``listen``: also how a reload changes a live one."""
    _apply(raw, view, When.BEFORE_LISTEN)
    if raw.family == _socket.AF_UNIX:
        os.chmod(raw.getsockname(), view[FILE_MODE])
    raw.listen(view[LISTEN_BACKLOG])


def close_listening(raw: RawSocket, close: Callable[[], object] | None = None) -> None:
    """Close a listening socket, by `close` where its owner has a way of its own, and remove a Unix one's file."""
    path = raw.getsockname() if raw.family == _socket.AF_UNIX else ""
    (close or raw.close)()
    if path:
        try:
            os.unlink(path)
        except OSError:
            pass  # gone, or its folder belongs to root and we no longer are: the next start removes it


def _apply(raw: RawSocket, view: View, when: When) -> None:
    for level, number, value in rows(view, raw.family, when):
        raw.setsockopt(level, number, value)


def _bind_unix(raw: RawSocket, path: str, mode: int) -> None:
    """Bind under a umask that lets nobody in, so that the file is never open wider than `File_Mode`."""
    _remove_stale(path)
    before = os.umask(0o177)
    try:
        raw.bind(path)
    finally:
        os.umask(before)
    os.chmod(path, mode)


def _remove_stale(path: str) -> None:
    """Remove an old socket file, but only if it is a socket on which nobody accepts."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, "a file that is not a socket is in the way", path)
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    else:
        raise OSError(errno.EADDRINUSE, "another process accepts on it", path)
    finally:
        probe.close()


def _explain(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"{error.strerror} (ports below 1024 need root or cap_net_bind_service)"
    if error.errno == errno.EADDRINUSE:
        return f"{error.strerror} (another process or another Listen has it)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{error.strerror} (no interface of this machine has that address)"
    return str(error.strerror or error)
