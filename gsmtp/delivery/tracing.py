"""Who wants to see what is said to next hops, in clear text: the seam for the console's traces.

Nothing is paid while nobody wants to: `Observers.of` gives None, and connections look at nothing but that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol


class Observer(Protocol):
    """Sees one delivery. Must neither block nor raise."""

    def event(self, text: str) -> None:
        """Something happened beside the dialogue: connected, TLS begun, closed."""

    def sent(self, data: bytes) -> None:
        """These bytes went out, in clear text; pieces of any cut."""

    def received(self, data: bytes) -> None:
        """These came in, b"" at the end."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a delivery is about.

    Args:
        message_id: of the message.
        binding: that policy chose for it, "" for none.
        domain: of the first recipient, lower case.
        hop: the address that is connected to, with its port.
    """

    message_id: str
    binding: str
    domain: str
    hop: str


@dataclass(frozen=True, slots=True)
class _Wish:
    binding: str | None
    domain: str | None
    make: Callable[[Subject], Observer]


class Observers:
    """The wishes that are registered."""

    def __init__(self) -> None:
        self._wishes: dict[int, _Wish] = {}
        self._last = 0

    def add(self, make: Callable[[Subject], Observer], *, binding: str | None = None, domain: str | None = None) -> int:
        """Register one for deliveries that begin after this.

        Args:
            make: makes an observer of a delivery.
            binding: only deliveries by it; None for all.
            domain: only deliveries to it, lower case; None for all.

        Returns:
            The number by which it is removed.
        """
        self._last += 1
        self._wishes[self._last] = _Wish(binding, domain, make)
        return self._last

    def remove(self, number: int) -> None:
        """Forget one."""
        self._wishes.pop(number, None)

    def __bool__(self) -> bool:
        return bool(self._wishes)

    def of(self, subject: Subject) -> Observer | None:
        """Who watches a delivery, None for nobody."""
        found = [
            wish.make(subject)
            for wish in self._wishes.values()
            if wish.binding in (None, subject.binding) and wish.domain in (None, subject.domain)
        ]
        return found[0] if len(found) == 1 else _Several(found) if found else None


class _Several:
    def __init__(self, observers: list[Observer]) -> None:
        self._observers = observers

    def event(self, text: str) -> None:
        for observer in self._observers:
            observer.event(text)

    def sent(self, data: bytes) -> None:
        for observer in self._observers:
            observer.sent(data)

    def received(self, data: bytes) -> None:
        for observer in self._observers:
            observer.received(data)


OBSERVERS: Final = Observers()
"""Those of this process."""
