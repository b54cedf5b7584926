"""What is remembered of next hops between messages: idle connections, and which hops can't be reached just now.

Both are bounded by what the scheduler lets run at a time. No I/O but closing; no timers: the worker calls
`close_idle` now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gsmtp.delivery.resolve import Address

_FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 120.0
_MANY_HOPS = 10_000


class Closable(Protocol):
    """A connection as the pool sees it."""

    def is_alive(self) -> bool:
        """Whether the next hop still seems to be there; doesn't wait."""

    def close(self) -> None:
        """Say goodbye and close; doesn't wait."""


@dataclass(slots=True)
class _Idle:
    connection: Closable
    until_mono: float


class ConnectionPool:
    """Idle connections by key (protocol, host, port, our name); the one used last is taken first.

    Args:
        mono: a monotonic clock in seconds.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._idle: dict[object, list[_Idle]] = {}
        self._count = 0

    def take(self, key: object) -> Closable | None:
        """An idle connection that is still alive, or None."""
        idle = self._idle.get(key)
        while idle:
            entry = idle.pop()
            self._count -= 1
            if not idle:
                del self._idle[key]
            if entry.until_mono > self._mono() and entry.connection.is_alive():
                return entry.connection
            entry.connection.close()
        return None

    def give(self, key: object, connection: Closable, idle_timeout_s: float) -> None:
        """Keep a connection for so many seconds; 0 closes it at once."""
        if idle_timeout_s <= 0:
            connection.close()
            return
        self._idle.setdefault(key, []).append(_Idle(connection, self._mono() + idle_timeout_s))
        self._count += 1

    def close_idle(self) -> None:
        """Close the connections whose time is over."""
        now = self._mono()
        for key in list(self._idle):
            keep = []
            for entry in self._idle[key]:
                if entry.until_mono > now:
                    keep.append(entry)
                else:
                    self._count -= 1
                    entry.connection.close()
            if keep:
                self._idle[key] = keep
            else:
                del self._idle[key]

    def make_room(self, most: int) -> None:
        """Close idle connections, the oldest first, until there are no more than `most`."""
        while self._count > max(most, 0):
            key = next(iter(self._idle))
            self._idle[key].pop(0).connection.close()
            self._count -= 1
            if not self._idle[key]:
                del self._idle[key]

    def close_all(self) -> None:
        """Close every idle connection."""
        idle, self._idle = self._idle, {}
        self._count = 0
        for entries in idle.values():
            for entry in entries:
                entry.connection.close()

    def __len__(self) -> int:
        return self._count


@dataclass(slots=True)
class _Trouble:
    until_mono: float
    backoff_s: float
    reason: str


class HopHealth:
    """Backs off from addresses that can't be reached: for 1 s, then 2, 4 … at most `Host_Failure_Retry`, until one
    connection succeeds.

    Args:
        mono: a monotonic clock in seconds.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._trouble: dict[tuple[str, int], _Trouble] = {}

    def reason(self, address: Address) -> str:
        """Why the address isn't to be tried now, or ""."""
        trouble = self._trouble.get((address.ip, address.port))
        return trouble.reason if trouble is not None and trouble.until_mono > self._mono() else ""

    def failed(self, address: Address, reason: str, longest_s: float = LONGEST_BACKOFF_S) -> None:
        """A connection to the address failed; it is left alone for `longest_s` at the most. Failures of tries that ran
        side by side count once."""
        now = self._mono()
        key = (address.ip, address.port)
        trouble = self._trouble.get(key)
        if trouble is None:
            if len(self._trouble) >= _MANY_HOPS:
                self._trouble = {known: one for known, one in self._trouble.items() if one.until_mono > now}
            backoff_s = min(_FIRST_BACKOFF_S, longest_s)
            self._trouble[key] = _Trouble(now + backoff_s, backoff_s, reason)
        elif trouble.until_mono <= now:
            trouble.backoff_s = min(max(trouble.backoff_s * 2, _FIRST_BACKOFF_S), longest_s)
            trouble.until_mono = now + trouble.backoff_s
            trouble.reason = reason

    def worked(self, address: Address) -> None:
        """A connection to the address succeeded."""
        self._trouble.pop((address.ip, address.port), None)

    def down(self) -> list[tuple[str, int]]:
        """The addresses and ports that are backed off from now."""
        now = self._mono()
        return [key for key, trouble in self._trouble.items() if trouble.until_mono > now]
