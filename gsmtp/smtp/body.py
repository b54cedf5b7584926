"""From the wire to the octets of a message: where DATA ends, transparency dots, BDAT chunks, lone CR and LF.

Only CR LF . CR LF ends DATA (RFC 5321 section 4.1.1.4). Everything is done with `find`, `count` and `replace` on whole
pieces, and no answer depends on where the pieces were cut: what can't be judged yet stays in the input buffer. A piece
that is given out never ends between the CR and the LF of one line end, so whoever reads it may look at it alone.
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = b"\r\n.\r\n"
_DOT_LINE: Final = b"\r\n."

# What some server somewhere takes for the end of the data: a dot alone between two line ends of any kind, when not
# both are CR LF (CVE-2023-51764, CVE-2023-51765, CVE-2023-51766).
_FALSE_END: Final = re.compile(rb"(?<!\r)\n\.[\r\n]|\n\.(?:\n|\r(?!\n))|\r\.[\r\n]")
_BEHIND: Final = 3  # how much of the text before a piece the pattern has to see: CR LF and the dot


class LoneScan:
    """Watches for CR and LF that stand alone, and for those that could end the data for the next server.

    Attributes:
        has_false_end: whether one of them makes a dot line that isn't the end.
    """

    __slots__ = ("_before", "_seen", "has_false_end")

    def __init__(self) -> None:
        self.has_false_end = False
        self._seen = False
        self._before = b"\r\n"  # the command's line end stands before the body

    def scan(self, wire: bytes, is_end: bool = False) -> bool:
        """Look at the next piece, transparency dots still in it; True when it holds a lone CR or LF.

        Args:
            wire: never ends between the CR and the LF of a line end.
            is_end: whether it is the last piece.
        """
        # Without its LFs, and then with one behind each CR, it is the same again when none stood alone. Replacing
        # single bytes takes a third of the time that looking for the pairs takes.
        is_lone = wire.replace(b"\n", b"").replace(b"\r", b"\r\n") != wire
        if is_lone or self._seen:
            self._seen = True
            if not self.has_false_end:
                # Whoever sends the message on by DATA puts a line end behind one that has none.
                text = self._before + wire + b"\r\n" if is_end else self._before + wire
                self.has_false_end = _FALSE_END.search(text) is not None
        if not is_end:
            before = wire[-_BEHIND:]
            self._before = before if len(before) == _BEHIND else (self._before + before)[-_BEHIND:]
        return is_lone


class DataReader:
    """Takes a DATA body out of the input.

    Attributes:
        scan: what was seen of lone CR and LF.
        is_lone: whether the last piece held any.
        is_at_end: whether the end of the data was found.
    """

    __slots__ = ("_is_first", "is_at_end", "is_lone", "scan")

    def __init__(self) -> None:
        self.scan = LoneScan()
        self.is_lone = False
        self.is_at_end = False
        self._is_first = True

    def read(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """Take what can be told to be content.

        Args:
            data: the input buffer.
            pos: where the unused input begins in it.

        Returns:
            The next octets of the message, transparency dots removed, and where the input goes on.

        Source: RFC 5321 section 4.5.2.
        """
        is_first = self._is_first
        if is_first and data.startswith(b".", pos):
            # The CR LF before this dot is that of the DATA command.
            if data.startswith(b".\r\n", pos):
                self.is_at_end = True
                return b"", pos + 3
            if len(data) - pos < 3 and b".\r\n".startswith(data[pos:]):
                return b"", pos
        has_dots = False
        dot = data.find(b".", pos)  # looking for one octet takes a tenth of the time of looking for three
        if dot < 0:
            end = -1
        elif dot == len(data) - 3 and data.endswith(_END, pos):
            end = dot - 2
        else:
            end = data.rfind(_DOT_LINE, pos)  # backwards is the faster way, and here it comes to the same
            if end >= 0 and not (
                # Nearly always this is the end of the data, and there is no other dot at the start of a line.
                end == len(data) - 5 and data.endswith(_END) and data.rfind(_DOT_LINE, pos, end + 2) < 0
            ):
                has_dots = True
                end = data.find(_END, pos)
        if end >= 0:
            wire = data[pos : end + 2]
            pos = end + 5
            self.is_at_end = True
        else:
            end = len(data) - _held_back(data, pos)
            wire = data[pos:end]
            pos = end
            if not wire:
                return b"", pos
        self.is_lone = self.scan.scan(wire, self.is_at_end)
        if is_first:
            self._is_first = False
            if wire.startswith(b"."):
                wire = wire[1:]
        if has_dots:
            wire = wire.replace(_DOT_LINE, b"\r\n")
        return wire, pos


def _held_back(data: bytes, pos: int) -> int:
    """How many bytes at the end may be the beginning of the end."""
    for length in (4, 3, 2, 1):
        if data.endswith(_END[:length], pos):
            return length
    return 0


class ChunkReader:
    """Takes the chunks of BDAT out of the input: as many octets as announced, whatever they are.

    Attributes:
        scan: what was seen of lone CR and LF.
        is_lone: whether the last piece held any.
        size_bytes: the length of the chunk.
        remaining: octets of the chunk that have not come yet.
        is_last: whether this is the last chunk.
        is_at_end: whether the whole of the last chunk has come.

    Source: RFC 3030 section 2.
    """

    __slots__ = ("_held", "is_at_end", "is_last", "is_lone", "remaining", "scan", "size_bytes")

    def __init__(self) -> None:
        self.scan = LoneScan()
        self.is_lone = False
        self.size_bytes = 0
        self.remaining = 0
        self.is_last = False
        self.is_at_end = False
        self._held = b""

    def begin(self, size_bytes: int, is_last: bool) -> None:
        """The next chunk was announced."""
        self.size_bytes = self.remaining = size_bytes
        self.is_last = is_last

    def skip(self, data: bytes, pos: int) -> int:
        """Throw away what came of a refused chunk; returns where the input goes on."""
        taken = min(self.remaining, len(data) - pos)
        self.remaining -= taken
        return pos + taken

    def read(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """Take what came of the chunk: the next octets of the message and where the input goes on."""
        end = self.skip(data, pos)
        self.is_at_end = self.is_last and not self.remaining
        wire = self._held + data[pos:end] if self._held else data[pos:end]
        self._held = b""
        if wire.endswith(b"\r") and not self.is_at_end:
            # Its LF may be the first octet of the next piece, or of the next chunk.
            self._held = b"\r"
            wire = wire[:-1]
        self.is_lone = self.scan.scan(wire, self.is_at_end) if wire or self.is_at_end else False
        return wire, end
