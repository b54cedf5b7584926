"""Native threads that each stanza of a transport has for itself: what hangs in one of them holds up nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsmtp.runtime.calls import Calls
    from gsmtp.runtime.native import HubMailbox


class StanzaThreads:
    """Pools by stanza, started when first needed; at import it loads no gevent.

    Args:
        size: how many threads a stanza has, by its title; raises ValueError where there is none of that title.
    """

    def __init__(self, size: Callable[[str], int]) -> None:
        self._size = size
        self._calls: Calls | None = None
        self._mailbox: HubMailbox | None = None

    @property
    def calls(self) -> Calls:
        """Makes calls in them, under a deadline."""
        from gsmtp.runtime.calls import Calls, NativePools
        from gsmtp.runtime.native import HubMailbox

        if self._calls is None:
            self._mailbox = HubMailbox()
            self._calls = Calls(NativePools(self._mailbox, self._size))
        return self._calls

    def resize(self) -> None:
        """Sizes have changed: what runs or waits in a pool of another size ends there."""
        if self._calls is not None:
            self._calls.pools.resize(self._size)

    def close(self) -> None:
        """Let the threads end after the jobs that wait."""
        if self._calls is not None and self._mailbox is not None:
            self._calls.pools.close()
            self._mailbox.close()
            self._calls = self._mailbox = None
