"""Failed logins by address: how long the next answer is held back, and who isn't listened to any more.

IPv4 clients are counted by address, IPv6 clients by /64, which is what one household or one machine gets. Memory is
bounded: of more than `MOST_ADDRESSES` the one that failed longest ago is forgotten. A success forgets nothing: whoever
guesses may have an account.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from gsmtp.core.clock import Clock

MOST_ADDRESSES: Final = 20_000
MOST_DOUBLINGS: Final = 4
"""The delay grows to 2**4 times its beginning."""


@dataclass(slots=True)
class _Failures:
    """Failures in the present window and in the one before, whose share fades as the present one passes."""

    window_began_mono: float
    before: int = 0
    now: int = 0


class FailedAttempts:
    """Counts failed logins.

    Args:
        clock: for the windows.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Failures] = OrderedDict()

    def failed(self, client_ip: str, window_s: float) -> int:
        """Count a failure; how many there are within the window, this one included."""
        key = _key(client_ip)
        failures = self._by_address.get(key)
        if failures is None:
            failures = self._by_address[key] = _Failures(self._clock.mono())
            if len(self._by_address) > MOST_ADDRESSES:
                self._by_address.popitem(last=False)
        self._by_address.move_to_end(key)
        self._roll(failures, window_s)
        failures.now += 1
        return self._count(failures, window_s)

    def count(self, client_ip: str, window_s: float) -> int:
        """Failures of an address within the window."""
        if not self._by_address:
            return 0
        failures = self._by_address.get(_key(client_ip))
        if failures is None:
            return 0
        self._roll(failures, window_s)
        return self._count(failures, window_s)

    def _roll(self, failures: _Failures, window_s: float) -> None:
        passed_s = self._clock.mono() - failures.window_began_mono
        if passed_s < window_s:
            return
        failures.before = failures.now if passed_s < 2 * window_s else 0
        failures.now = 0
        failures.window_began_mono += passed_s - passed_s % window_s if window_s else passed_s

    def _count(self, failures: _Failures, window_s: float) -> int:
        if not failures.before:
            return failures.now
        passed_s = self._clock.mono() - failures.window_began_mono
        return failures.now + int(failures.before * max(0.0, 1 - passed_s / window_s))

    def __len__(self) -> int:
        return len(self._by_address)


def delay_after(failures: int, delay_s: float) -> float:
    """How long the answer to the n-th failure is held back: doubled each time, up to sixteen times `delay_s`."""
    return delay_s * 2.0 ** min(max(failures - 1, 0), MOST_DOUBLINGS)


def _key(client_ip: str) -> str:
    if ":" not in client_ip:
        return client_ip
    address = ip_address(client_ip.partition("%")[0])
    assert isinstance(address, IPv6Address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))
