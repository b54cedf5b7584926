"""Socket options of Listen: a row is both the declaration's effect and the table that sets it.

`BEFORE_BIND` rows are set before ``bind()``, `BEFORE_LISTEN` between ``bind()`` and ``listen()`` (Linux
sizes the window it offers when the connection is made, so buffer sizes must stand before), `ACCEPTED` on each
accepted socket. 0 leaves a size to the kernel. Source: reference/esmtp-listener.md section 2.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gsmtp.config.option import Option
from gsmtp.config.view import View
from gsmtp.runtime.options import DISABLE_NAGLE_ALGORITHM, TCP_RECV_BUFFER_SIZE, TCP_SEND_BUFFER_SIZE


class When(Enum):
    """At what point of a socket's life a row is applied."""

    BEFORE_BIND = "before bind"
    BEFORE_LISTEN = "before listen"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class SocketOption:
    """One row.

    Args:
        option: whose value is set.
        level: as for ``setsockopt``.
        number: as for ``setsockopt``.
        when: at what point.
        applies: whether a value is set at all, e.g. not for 0.
        families: address families it makes sense for.
    """

    option: Option[Any]
    level: int
    number: int
    when: When
    applies: Callable[[Any], bool] = bool
    families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)


SOCKET_OPTIONS = (
    SocketOption(TCP_RECV_BUFFER_SIZE, socket.SOL_SOCKET, socket.SO_RCVBUF, When.BEFORE_LISTEN),
    SocketOption(TCP_SEND_BUFFER_SIZE, socket.SOL_SOCKET, socket.SO_SNDBUF, When.BEFORE_LISTEN),
    SocketOption(DISABLE_NAGLE_ALGORITHM, socket.IPPROTO_TCP, socket.TCP_NODELAY, When.ACCEPTED),
)


def rows(view: View, family: int, when: When) -> list[tuple[int, int, int]]:
    """What to give ``setsockopt`` for a socket of that family at that point: (level, number, value)."""
    return [
        (row.level, row.number, int(view[row.option]))
        for row in SOCKET_OPTIONS
        if row.when is when and family in row.families and row.applies(view[row.option])
    ]
