"""How many connections, receptions and rejections came from where, in windows of time: for policy and the console.

``audit.count("rejections", "192.0.2.0/24", 300)`` in a hook asks the module inbound_audit for the window of 300
seconds that is going on; ``back=1`` asks for the one before. Source: reference/policy-and-context.md section 4
(inbound_audit).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gsmtp.core.address import parse_network
from gsmtp.core.clock import Clock

log = logging.getLogger("gsmtp.inbound_audit")

KINDS: Final = ("connections", "receptions", "rejections")
Monitor = tuple[int, int]
"""Length of a window in seconds, and how many are kept."""

_Counts = list[int]
_UNIX = "127.0.0.1"
"""Clients of Unix sockets count as this one, as they match Peers."""


class Audit:
    """The counts of one server.

    Args:
        monitors: windows to keep.
        clock: for the windows, which begin at multiples of their length.
        most_addresses: that a window counts singly; further ones are left out, and told once a window.
    """

    def __init__(self, monitors: Sequence[Monitor], clock: Clock, most_addresses: int = 50_000) -> None:
        self.monitors = tuple(dict.fromkeys(monitors))
        self._clock = clock
        self._most = most_addresses
        self._windows: dict[Monitor, dict[int, dict[int, _Counts]]] = {monitor: {} for monitor in self.monitors}
        self._full: set[tuple[Monitor, int]] = set()

    def add(self, kind: str, address: str) -> None:
        """Count one event of a client's address ("" for a Unix socket)."""
        place = KINDS.index(kind)
        key = _key(ip_address(address or _UNIX))
        now_wall = self._clock.wall()
        for monitor, windows in self._windows.items():
            number = int(now_wall // monitor[0])
            window = windows.get(number)
            if window is None:
                window = windows[number] = {}
                self._forget_old(monitor, number)
            counts = window.get(key)
            if counts is None:
                if len(window) >= self._most:
                    self._tell_full(monitor, number)
                    continue
                counts = window[key] = [0, 0, 0]
            counts[place] += 1

    def count(self, kind: str, network: str, window_s: int, back: int = 0) -> int:
        """How many events came from an address or network.

        Args:
            kind: of `KINDS`.
            network: address or CIDR block.
            window_s: length of the window; one of the configured.
            back: 0 for the window that is going on, 1 for the one before it …

        Raises:
            ValueError: the kind, the network or the window is none.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        monitor = next((one for one in self.monitors if one[0] == window_s), None)
        if monitor is None or not 0 <= back < monitor[1]:
            raise ValueError(f"no window of {window_s} s is kept {back} windows back")
        window = self._windows[monitor].get(int(self._clock.wall() // window_s) - back, {})
        place = KINDS.index(kind)
        parsed = parse_network(network)
        low, high = _key(parsed.network_address), _key(parsed.broadcast_address)
        if low == high:
            counts = window.get(low)
            return counts[place] if counts is not None else 0
        return sum(counts[place] for key, counts in window.items() if low <= key <= high)

    def forget_old(self) -> None:
        """Drop windows that are out of all monitors."""
        for monitor in self.monitors:
            self._forget_old(monitor, int(self._clock.wall() // monitor[0]))

    def _forget_old(self, monitor: Monitor, current: int) -> None:
        windows = self._windows[monitor]
        for number in [one for one in windows if one <= current - monitor[1]]:
            del windows[number]
            self._full.discard((monitor, number))

    def _tell_full(self, monitor: Monitor, number: int) -> None:
        if (monitor, number) not in self._full:
            self._full.add((monitor, number))
            log.warning("a window of %d s has %d addresses: further ones are not counted", monitor[0], self._most)

    # --- over a restart

    def saved(self) -> Saved:
        """All counts, for `as_json` in a native thread."""
        return {monitor: {number: dict(window) for number, window in windows.items()}
                for monitor, windows in self._windows.items()}  # fmt: skip

    def restore(self, text: str) -> None:
        """Go on with what `as_json` gave, where the monitors are the same. Raises ValueError for anything else."""
        try:
            saved = json.loads(text)
            for monitor in self.monitors:
                for number, window in saved.get(f"{monitor[0]},{monitor[1]}", {}).items():
                    self._windows[monitor][int(number)] = {
                        _key(ip_address(address)): [int(one) for one in counts[:3]]
                        for address, counts in window.items()
                    }
        except (AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"it holds no counts: {error!r}") from None
        self.forget_old()


Saved = dict[Monitor, dict[int, dict[int, _Counts]]]


def as_json(saved: Saved) -> str:
    """What `Audit.saved` gave as text."""
    return json.dumps(
        {
            f"{monitor[0]},{monitor[1]}": {
                str(number): {_shown(key): counts for key, counts in window.items()}
                for number, window in windows.items()
            }
            for monitor, windows in saved.items()
        }
    )


_IPV6 = 1 << 128
"""Set in the keys of IPv6 addresses."""


def _key(address: IPv4Address | IPv6Address) -> int:
    return int(address) if address.version == 4 else int(address) | _IPV6


def _shown(key: int) -> str:
    return str(IPv6Address(key ^ _IPV6) if key & _IPV6 else IPv4Address(key))


_running: list[Audit] = []
"""Those of configurations, the newest last; two while a reload is under way."""


def current() -> Audit | None:
    """The one of the running configuration, None without inbound_audit."""
    return _running[-1] if _running else None


def count(kind: str, network: str, window_s: int, back: int = 0) -> int:
    """As `Audit.count`; 0 without inbound_audit."""
    running = current()
    return running.count(kind, network, window_s, back) if running is not None else 0


def begin(audit: Audit) -> None:
    """Let it be found."""
    _running.append(audit)


def end(audit: Audit) -> None:
    """One configuration that has it is gone."""
    for place, one in enumerate(_running):
        if one is audit:
            del _running[place]
            break
