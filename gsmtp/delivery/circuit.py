"""Whether a receiver that failed again and again is to be asked at all: a circuit that opens, probes and closes.

Closed, everything passes. After so many failures in a row it opens: nothing passes for a pause. Then one probe passes;
its success closes the circuit, its failure opens it for twice the pause. No I/O, no timers; the clock is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """When a circuit opens, and for how long.

    Args:
        failures: in a row; 0 never opens it.
        pause_s: the first pause.
        longest_pause_s: what doubling ends at.
    """

    failures: int
    pause_s: float
    longest_pause_s: float


class Circuit:
    """The circuit of one receiver.

    Args:
        mono: a monotonic clock in seconds.

    Attributes:
        failures: in a row.
        last: what the last failure was.
        is_open: whether it is.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._pause_s = 0.0
        self._until = 0.0
        self._is_probing = False
        self.failures = 0
        self.last = ""
        self.is_open = False

    @property
    def wait_s(self) -> float:
        """Seconds until a probe may pass."""
        return max(self._until - self._mono(), 0.0) if self.is_open else 0.0

    def permits(self) -> bool:
        """Whether one more may pass now. Who was let through says how it went: worked, failed or undecided.

        The one that passes while the circuit is open is its probe.
        """
        if not self.is_open:
            return True
        if self._is_probing or self._mono() < self._until:
            return False
        self._is_probing = True
        return True

    def worked(self) -> bool:
        """The receiver answered sensibly. Whether that closed the circuit."""
        was_open, self.is_open = self.is_open, False
        self._is_probing = False
        self.failures = 0
        return was_open

    def failed(self, reason: str, limits: CircuitLimits, *, was_probe: bool) -> bool:
        """It didn't. Whether that opened the circuit; a probe that fails leaves it open, and is no news."""
        self.failures += 1
        self.last = reason
        if self.is_open:
            if was_probe:
                self._is_probing = False
                self._rest(min(self._pause_s * 2, limits.longest_pause_s))
            return False  # else it was under way when the circuit opened
        if not limits.failures or self.failures < limits.failures:
            return False
        self.is_open = True
        self._rest(limits.pause_s)
        return True

    def undecided(self, *, was_probe: bool) -> None:
        """Who was let through found nothing out: it broke off for reasons of its own."""
        if was_probe:
            self._is_probing = False

    def _rest(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._until = self._mono() + pause_s
