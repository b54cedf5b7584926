"""Results that are kept for a while: so many, so long, the least used go first.

Keys are digests of query and values with a secret of this process: passwords that were asked for are not kept.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from gsmtp.core.clock import Clock
from gsmtp.datasource.result import Result

_SECRET = os.urandom(32)


@dataclass(slots=True)
class CacheCounts:
    """What `ds_core stats` shows.

    Args:
        hits: answered from the cache.
        misses: asked the database.
        pending: answered by a query of another session that was under way.
        inserts: results kept.
        removed_manually: by a flush.
        removed_old: past cache_life.
        removed_full: because of cache_size.
    """

    hits: int = 0
    misses: int = 0
    pending: int = 0
    inserts: int = 0
    removed_manually: int = 0
    removed_old: int = 0
    removed_full: int = 0


def cache_key(query: str, values: Mapping[str, str | None]) -> bytes:
    """The key of a query with its values."""
    digest = blake2b(key=_SECRET, digest_size=20)
    for text in (query, *(part for pair in sorted(values.items()) for part in pair)):
        data = b"\0" if text is None else text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%d:" % (text is None, len(data)))
        digest.update(data)
    return digest.digest()


class Cache:
    """The results of one Datasource.

    Args:
        size: entries at the most.
        life_s: how long one counts; 0: as long as there is room.
        clock: for ages.
    """

    def __init__(self, size: int, life_s: float, clock: Clock) -> None:
        self._size = size
        self._life_s = life_s
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[Result, float]] = OrderedDict()
        self.counts = CacheCounts()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Result | None:
        """The result kept under a key, not counted."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._life_s and self._clock.mono() - entry[1] >= self._life_s:
            del self._entries[key]
            self.counts.removed_old += 1
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, result: Result) -> None:
        """Keep a result."""
        if self._size <= 0:
            return
        self._entries[key] = (result, self._clock.mono())
        self._entries.move_to_end(key)
        self.counts.inserts += 1
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
            self.counts.removed_full += 1

    def flush(self) -> int:
        """Forget all; how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self.counts.removed_manually += count
        return count
