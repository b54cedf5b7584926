"""The bytes that came and were not used yet, and how a command line is taken out of them.

A command ends in CR LF and in nothing else. A line that ends in LF alone is not executed and the session ends: to take
it as a line end, as many servers do, would let a peer whose next hop we are smuggle commands through a server that
passes lone LFs on (``RCPT TO:<a LF RCPT TO:<b>>``), and to wait for the CR LF further on would leave a person with a
plain terminal without an answer. Nothing that follows it is looked at, so pipelined data can't become commands either.

Memory stays bounded: an overlong line is thrown away as it comes.
"""

from __future__ import annotations

from typing import Final

MOST_LINE_BYTES: Final = 131_072
"""A line longer than this ends the session: nobody sends one by mistake."""


class LineFault(Exception):
    """A line that is no command line; `is_fatal` says whether the session can go on behind it."""

    def __init__(self, text: str, *, is_fatal: bool) -> None:
        super().__init__(text)
        self.is_fatal = is_fatal


class BareLineFeed(LineFault):
    """LF without CR before it."""


class LineTooLong(LineFault):
    """More than the limit."""


class InputBuffer:
    """Input that waits to be read as lines or as body.

    Args:
        longest_line: the limit of a line in octets, CR LF included; `longest` may be set anew between two lines.
    """

    __slots__ = ("_skipped", "data", "is_ended", "longest", "pos")

    def __init__(self, longest_line: int) -> None:
        self.data = b""
        self.pos = 0
        self.is_ended = False
        self.longest = longest_line
        self._skipped = 0

    def feed(self, data: bytes) -> None:
        """Append what came; b"" says that no more will."""
        if not data:
            self.is_ended = True
        elif self.pos == len(self.data):
            self.data = data
            self.pos = 0
        else:
            self.data = self.data[self.pos :] + data
            self.pos = 0

    @property
    def pending(self) -> int:
        """Bytes not used yet."""
        return len(self.data) - self.pos

    def compact(self) -> None:
        """Let go of what was used: a session that waits must not hold the last piece that it read."""
        if self.pos:
            self.data = self.data[self.pos :]
            self.pos = 0

    def clear(self) -> None:
        """Forget everything that waits."""
        self.data = b""
        self.pos = 0

    def line(self) -> bytes | None:
        """Take the next command line, without its CR LF; None when none is whole yet.

        Raises:
            BareLineFeed: it ended in LF alone.
            LineTooLong: it was longer than allowed; it has been taken out, unless the fault is fatal.
        """
        data = self.data
        pos = self.pos
        end = data.find(b"\n", pos)
        if end < 0:
            if len(data) - pos > self.longest or self._skipped:
                self._skip()
            return None
        if self._skipped or end - pos >= self.longest:
            raise self._end_long_line(end)
        self.pos = end + 1
        if end == pos or data[end - 1] != 13:
            raise BareLineFeed("a command line ended in LF without CR", is_fatal=True)
        return data[pos : end - 1]

    def _skip(self) -> None:
        # The last byte is kept: it may be the CR of the CR LF.
        length = len(self.data) - self.pos
        self._skipped += length - 1
        self.data = self.data[-1:]
        self.pos = 0
        if self._skipped + 1 > MOST_LINE_BYTES:
            raise LineTooLong("a command line without end", is_fatal=True)

    def _end_long_line(self, end: int) -> LineFault:
        length = self._skipped + end + 1 - self.pos
        is_bare = self.data[end - 1] != 13  # at least one byte of the line is still here
        self.pos = end + 1
        self._skipped = 0
        # A long line is told by its length alone, however it was cut: first the hopeless ones.
        if length > MOST_LINE_BYTES:
            return LineTooLong("a command line without end", is_fatal=True)
        if is_bare:
            return BareLineFeed("a command line ended in LF without CR", is_fatal=True)
        return LineTooLong(f"a command line of {length} octets", is_fatal=False)
