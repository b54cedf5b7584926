"""Waiting for a descriptor in a native thread, where gevent's patched `select` must not be used."""

from __future__ import annotations

import time
from typing import Any

import gevent.monkey

_select: Any = gevent.monkey.get_original("select", "poll")
_IN, _OUT = 1, 4  # POLLIN, POLLOUT


def wait_for_descriptor(descriptor: int, *, read: bool, write: bool, deadline_mono: float) -> bool:
    """Block the native thread until the descriptor is ready; False when the deadline passed first.

    Args:
        descriptor: of a socket or pipe.
        read: wait for input.
        write: wait for room.
        deadline_mono: of `time.monotonic`.
    """
    left_s = deadline_mono - time.monotonic()
    if left_s <= 0:
        return False
    poll = _select()
    poll.register(descriptor, (_IN if read else 0) | (_OUT if write else 0))
    return bool(poll.poll(left_s * 1000))
