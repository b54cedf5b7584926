"""Looking into all spools of a server at once: the one of a single process, or of each worker (`gsmtp.spool.adopt`).

What comes from several is merged by the time of reception. A message that a crash left in two of them, while it was
moved, is shown once. No gevent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.adopt import slots_of, spool_of
from gsmtp.spool.base import QueuedMessage, StoredBody
from gsmtp.spool.inspect import EVERYTHING, Inspector, NoSpool, is_in_use
from gsmtp.spool.selection import DomainTotal, Selected, Selection


def folders(base: str) -> list[str]:
    """The folders of a server's spools, the first worker's first; some may have no spool yet."""
    return [spool_of(base, slot) for slot in (1, *slots_of(base))]


def is_any_in_use(base: str) -> bool:
    """Whether a process uses one of them; True when that can't be told."""
    return any(is_in_use(folder) for folder in folders(base))


class Inspectors:
    """All spools, opened for looking.

    Args:
        base: Spoolbase, or the folder of one spool.

    Raises:
        NoSpool: there is none.
        SpoolUnhealthy: one can't be read, is damaged, or was written by a newer gsmtp.
    """

    def __init__(self, base: str) -> None:
        self._opened: list[Inspector] = []
        nothing: NoSpool | None = None
        try:
            for folder in folders(base):
                try:
                    self._opened.append(Inspector(folder))
                except NoSpool as error:
                    nothing = nothing or error
        except BaseException:
            self.close()
            raise
        if nothing is not None and not self._opened:
            raise nothing

    def selected(self, selection: Selection) -> Iterator[Selected]:
        """The recipients that are meant, in the order of reception."""
        return (one for _, one in self._merged(selection))

    def _merged(self, selection: Selection) -> Iterator[tuple[Inspector, Selected]]:
        streams = [_of(inspector, selection) for inspector in self._opened]
        if len(streams) == 1:
            yield from streams[0]
            return
        last = ("", -1)
        for inspector, one in heapq.merge(*streams, key=_order):
            if (one.message_id, one.index) != last:
                yield inspector, one
            last = (one.message_id, one.index)

    def messages(self, selection: Selection = EVERYTHING, *, limit: int = 0) -> Iterator[QueuedMessage]:
        """The messages with a recipient that is meant, oldest first; see `Inspector.messages`."""
        last, given = "", 0
        for inspector, one in self._merged(selection):
            if one.message_id == last:
                continue
            last = one.message_id
            message = inspector.message(last)
            if message is not None:  # else it was delivered meanwhile
                yield message
                given += 1
                if given == limit:
                    return

    def totals(self) -> list[DomainTotal]:
        """Counts, sizes and ages by domain, the largest number of recipients first."""
        found: dict[str, DomainTotal] = {}
        for one in (one for inspector in self._opened for one in inspector.totals()):
            known = found.get(one.domain)
            found[one.domain] = one if known is None else _together(known, one)
        return sorted(found.values(), key=lambda one: (-one.recipients, one.domain))

    def message(self, message_id: str) -> QueuedMessage | None:
        """One message, or None when it is nowhere. Raises ValueError when the text is not a message id."""
        return next((found for _, found in self._with(message_id)), None)

    def body(self, message_id: str) -> StoredBody:
        """A body. Raises SpoolUnhealthy when it isn't there, or not whole."""
        for inspector, _ in self._with(message_id):
            return inspector.body(message_id)
        raise SpoolUnhealthy(f"message {message_id} is not in the spool")

    def _with(self, message_id: str) -> Iterator[tuple[Inspector, QueuedMessage]]:
        for inspector in self._opened:
            found = inspector.message(message_id)
            if found is not None:
                yield inspector, found

    def close(self) -> None:
        """Done looking."""
        for inspector in self._opened:
            inspector.close()


def _of(inspector: Inspector, selection: Selection) -> Iterator[tuple[Inspector, Selected]]:
    return ((inspector, one) for one in inspector.selected(selection))


def _order(pair: tuple[Inspector, Selected]) -> tuple[float, str, int]:
    _, one = pair
    return one.received_wall, one.message_id, one.index


def _together(one: DomainTotal, other: DomainTotal) -> DomainTotal:
    """What two spools have for one domain."""
    states = dict.fromkeys((*one.counts, *other.counts))
    return DomainTotal(
        one.domain,
        {state: one.counts.get(state, 0) + other.counts.get(state, 0) for state in states},
        one.size_bytes + other.size_bytes,
        min(one.oldest_wall, other.oldest_wall),
    )
