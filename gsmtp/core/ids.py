"""Message, batch and connection ids in Momentum's shape: ``HH/HH-PPPPP-XXXXXXXX``.

The first four hex digits are the spool's generation, which grows by one each time the spool is opened, so that ids
stay unique over restarts even where the process id is always the same (containers); then the process id, five
decimal digits; then a counter. `number` packs generation and counter into the spool's integer key, which grows with
time: rows are appended, never inserted in the middle.

Source: reference/esmtp-listener.md section 10.3.
"""

from __future__ import annotations

from typing import Final

_COUNTER_BITS: Final = 32
_LAST_DIGITS: Final = tuple(f"{number:02X}" for number in range(256))


class IdMaker:
    """Makes ids that are unique for one spool.

    Args:
        generation: how many times the spool was opened before, 0 to 65,535 (wraps).
        pid: the process id; its last five decimal digits are shown.
    """

    __slots__ = ("_counter", "_front", "_prefix", "generation")

    def __init__(self, generation: int, pid: int) -> None:
        self.generation = generation & 0xFFFF
        high, low = divmod(self.generation, 256)
        self._prefix = f"{high:02X}/{low:02X}-{pid % 100000:05d}-"
        self._counter = 0
        self._front = f"{self._prefix}000000"  # an id but for its last two digits, which alone change nearly always

    def next(self) -> str:
        """The next id."""
        self._counter += 1
        last = self._counter & 0xFF
        if not last:
            self._front = f"{self._prefix}{(self._counter & 0xFFFFFFFF) >> 8:06X}"
        return self._front + _LAST_DIGITS[last]


def number(id_: str) -> int:
    """The integer key of an id; 0 to 2**48 - 1. Raises ValueError when the text is not an id.

    >>> number("00/2A-01234-0000001F") == (0x2A << 32) + 0x1F
    True
    """
    if len(id_) != 20 or id_[2] != "/" or id_[5] != "-" or id_[11] != "-":
        raise ValueError(f"{id_!r} is not a message id such as 00/2A-01234-0000001F")
    return (int(id_[0:2] + id_[3:5], 16) << _COUNTER_BITS) + int(id_[12:20], 16)
