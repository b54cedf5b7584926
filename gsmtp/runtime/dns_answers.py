"""What a DNS look-up can come to: records, no records, no such name, or no answer. Plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RecordType(StrEnum):
    """What is asked for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"


@dataclass(frozen=True, slots=True)
class Exchange:
    """An MX record.

    Args:
        preference: 0 to 65,535, lower ones first.
        host: in lower case without the trailing dot; "" for the root, which says "no mail here" (RFC 7505 section 3).
    """

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that counts.

    Args:
        exists: False when there is no such name (NXDOMAIN).
        addresses: IP addresses, for A and AAAA.
        exchanges: for MX.
        ttl_s: seconds that it may be kept, as the records say.
    """

    exists: bool
    addresses: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    ttl_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is no such record."""
        return not self.addresses and not self.exchanges


NO_SUCH_NAME = Answer(exists=False)


class LookupFailed(Exception):
    """No server gave an answer that counts: time-out, server failure, nonsense. Asking later may help.

    Args:
        reason: the last trouble, with the server's address.
        failures: how many look-ups of that name and type failed in a row, this one included.
    """

    def __init__(self, reason: str, failures: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failures = failures
