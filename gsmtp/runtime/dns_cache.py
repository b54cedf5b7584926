"""What is remembered of look-ups: answers for as long as their TTL says, failures for seconds. Bounded; no I/O.

Source: RFC 2308 (negative answers), RFC 9520 section 3.2 (failures are kept for a moment, and not for long).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gsmtp.runtime.dns_answers import Answer, LookupFailed, RecordType

Key = tuple[str, RecordType]

MOST_ENTRIES = 20_000
NO_TTL_S = 5.0
"""How long an answer without a TTL of its own is kept: "no" without a SOA record."""
FAILURE_S = 5.0
_FAILURES_REMEMBERED_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """An outcome.

    Args:
        outcome: what is told.
        until_mono: how long.
        drop_mono: how long it is remembered that a look-up failed.
    """

    outcome: Answer | LookupFailed
    until_mono: float
    drop_mono: float


class Cache:
    """Outcomes by name and type; those used last are kept when there are too many.

    Args:
        min_ttl_s: answers are kept that long at least.
        max_ttl_s: and that long at the most.
        purge_interval_s: how often what is over is thrown out.
        most: entries.
    """

    def __init__(self, min_ttl_s: float, max_ttl_s: float, purge_interval_s: float, most: int = MOST_ENTRIES) -> None:
        self._min_ttl_s = min_ttl_s
        self._max_ttl_s = max_ttl_s
        self._purge_interval_s = purge_interval_s
        self._most = most
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._purge_mono = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Answer | LookupFailed | None:
        """What is known now."""
        entry = self._entries.get(key)
        if entry is None or entry.until_mono <= now:
            return None
        self._entries.move_to_end(key)
        return entry.outcome

    def put_answer(self, key: Key, answer: Answer, now: float) -> None:
        """Keep an answer. One with records and a TTL of 0 isn't kept, unless Min_DNS_TTL says so."""
        ttl_s = answer.ttl_s if answer.ttl_s or not answer.is_empty else NO_TTL_S
        ttl_s = max(min(ttl_s, self._max_ttl_s), self._min_ttl_s)
        self._put(key, _Entry(answer, now + ttl_s, now + ttl_s), now)

    def put_failure(self, key: Key, reason: str, now: float) -> LookupFailed:
        """Keep a failure for a moment; returns it with the number of failures in a row."""
        entry = self._entries.get(key)
        before = entry.outcome.failures if entry is not None and isinstance(entry.outcome, LookupFailed) else 0
        failure = LookupFailed(reason, before + 1)
        self._put(key, _Entry(failure, now + FAILURE_S, now + _FAILURES_REMEMBERED_S), now)
        return failure

    def _put(self, key: Key, entry: _Entry, now: float) -> None:
        if now >= self._purge_mono:
            self._purge_mono = now + self._purge_interval_s
            self._entries = OrderedDict((k, one) for k, one in self._entries.items() if one.drop_mono > now)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
