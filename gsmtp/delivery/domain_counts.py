"""How many recipients of which domain were delivered and failed: what the console tells of a domain."""

from __future__ import annotations


class DomainCounts:
    """What was delivered and what failed by domain since the start; of the domains that were seen first, the counts of
    those beyond MOST are forgotten."""

    MOST = 10_000

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def count(self, domain: str, *, is_delivered: bool) -> None:
        """One recipient is settled."""
        found = self._counts.get(domain)
        if found is None:
            if len(self._counts) >= self.MOST:
                del self._counts[next(iter(self._counts))]
            found = self._counts[domain] = [0, 0]
        found[not is_delivered] += 1

    def of(self, domain: str) -> tuple[int, int]:
        """Recipients delivered and failed."""
        delivered, failed = self._counts.get(domain, (0, 0))
        return delivered, failed
