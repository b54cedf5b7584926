"""Counting sessions: Listener_Sessions by the scope that sets it, Service_Sessions over all sockets.

Sessions are counted from accept to close. One counter belongs to each scope instance that sets Listener_Sessions: in a
Peer it counts the clients that match that Peer, in a Listen the socket's, in ESMTP_Listener those of all sockets.
Counters are kept by the scope's path, so they go on over a reload. Source: reference/esmtp-listener.md section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.server.options import LISTENER_SESSIONS, SERVICE_SESSIONS

Path = tuple[tuple[str, str | None], ...]
_NO_SCOPE: Final[Path] = ()
_NO_LIMIT: Final = 0xFFFFFFFF
SERVICE: Final = "sessions"
"""What all sessions are counted by where several processes count together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold for one view.

    Args:
        listener_sessions: 0 for none.
        counter: the path of the scope that sets it.
        service_sessions: 0 for none.
    """

    listener_sessions: int
    counter: Path
    service_sessions: int

    @classmethod
    def of(cls, view: View) -> Limits:
        """Read the limits of a view."""
        origin = view.origin(LISTENER_SESSIONS)
        counter = _NO_SCOPE if origin.scope is None else path_of(origin.scope)
        return cls(view[LISTENER_SESSIONS], counter, view[SERVICE_SESSIONS])


def path_of(scope: Scope) -> Path:
    """The stanzas around and including one, outermost first: what a counter or an allowance is kept by."""
    parts: list[tuple[str, str | None]] = []
    at: Scope | None = scope
    while at is not None and at.parent is not None:
        parts.append((at.kind, at.instance))
        at = at.parent
    return tuple(reversed(parts))


class SessionCounts:
    """How many sessions there are, by counter and in all.

    Args:
        shared: where other processes' sessions of the same limits are counted, None where there are none.

    Attributes:
        service: sessions of this process.
    """

    def __init__(self, shared: SharedCounts | None = None) -> None:
        self.service = 0
        self._by_scope: dict[Path, int] = {}
        self._shared = shared
        self._names: dict[Path, str] = {}

    def admit(self, limits: Limits) -> bool:
        """Count a session in, unless a limit is reached."""
        if self._shared is not None:
            return self._admit_beside_others(limits, self._shared)
        if limits.service_sessions and self.service >= limits.service_sessions:
            return False
        if limits.listener_sessions:
            count = self._by_scope.get(limits.counter, 0)
            if count >= limits.listener_sessions:
                return False
        self._count_in(limits)
        return True

    def _admit_beside_others(self, limits: Limits, shared: SharedCounts) -> bool:
        if not shared.take(SERVICE, limits.service_sessions or _NO_LIMIT):
            return False
        if limits.listener_sessions and not shared.take(self._name(limits.counter), limits.listener_sessions):
            shared.drop(SERVICE)
            return False
        self._count_in(limits)
        return True

    def move(self, old: Limits, new: Limits) -> bool:
        """Count a session under other limits, unless one of those is reached: then it stays counted where it was."""
        if self._shared is not None:
            return self._move_beside_others(old, new, self._shared)
        self.leave(old)
        if self.admit(new):
            return True
        self._count_in(old)  # whatever its limit: others may have been admitted under a higher one since
        return False

    def _move_beside_others(self, old: Limits, new: Limits, shared: SharedCounts) -> bool:
        """As `move`, without ever leaving a place that others could take meanwhile."""
        if new.service_sessions and shared.total(SERVICE) > new.service_sessions:
            return False
        has_place = bool(old.listener_sessions) and old.counter == new.counter
        if new.listener_sessions:
            name = self._name(new.counter)
            if has_place and shared.total(name) > new.listener_sessions:
                return False
            if not has_place and not shared.take(name, new.listener_sessions):
                return False
        if old.listener_sessions and not (has_place and new.listener_sessions):
            shared.drop(self._name(old.counter))
        self._leave_here(old)
        self._count_in(new)
        return True

    def _count_in(self, limits: Limits) -> None:
        if limits.listener_sessions:
            self._by_scope[limits.counter] = self._by_scope.get(limits.counter, 0) + 1
        self.service += 1

    def leave(self, limits: Limits) -> None:
        """Count a session out that was admitted under these very limits."""
        if self._shared is not None:
            self._shared.drop(SERVICE)
            if limits.listener_sessions:
                self._shared.drop(self._name(limits.counter))
        self._leave_here(limits)

    def _leave_here(self, limits: Limits) -> None:
        self.service -= 1
        if limits.listener_sessions:
            count = self._by_scope[limits.counter] - 1
            if count:
                self._by_scope[limits.counter] = count
            else:
                del self._by_scope[limits.counter]

    def _name(self, counter: Path) -> str:
        """What the sessions of a scope are counted by where several processes count together."""
        name = self._names.get(counter)
        if name is None:
            name = self._names[counter] = f"{SERVICE} {counter!r}"
        return name
