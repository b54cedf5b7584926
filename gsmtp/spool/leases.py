"""Which recipients are handed out in this process. Lives on the hub; nothing of it is on disk.

A look into the database runs beside commits: it may have read a recipient as queued whose outcome is committed, and
whose lease is over, by the time its answer arrives. Handing that one out would deliver twice. So a lease that ends
while a look is under way counts as held for that look.
"""

from __future__ import annotations

Key = tuple[str, int]


class Leases:
    """Recipients by (message id, index)."""

    def __init__(self) -> None:
        self._held: set[Key] = set()
        self._looks: list[set[Key]] = []

    def __len__(self) -> int:
        return len(self._held)

    def begin_look(self) -> set[Key]:
        """Before a look into the database."""
        ended: set[Key] = set()
        self._looks.append(ended)
        return ended

    def end_look(self, ended: set[Key]) -> None:
        """After the answer was used, or an error."""
        self._looks = [look for look in self._looks if look is not ended]

    def is_free(self, key: Key, ended: set[Key]) -> bool:
        """Whether a recipient that the look saw as queued can be handed out."""
        return key not in self._held and key not in ended

    def take(self, key: Key) -> None:
        """Hand one out."""
        self._held.add(key)

    def end(self, key: Key) -> None:
        """Take one back. Harmless when it wasn't out."""
        if key in self._held:
            self._held.discard(key)
            for look in self._looks:
                look.add(key)
