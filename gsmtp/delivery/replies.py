"""Reads a next hop's replies: bytes in any cut become whole replies of bounded size. No I/O.

Lines may end in CR LF or LF. Texts are made fit for logs: bounded, one line, no control characters.
Source: RFC 5321 section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_MAX_LINE_BYTES = 8192
"""RFC 5321 section 4.5.3.1.5 says 512; real servers send more."""
_MAX_LINES = 512
_MAX_TEXT = 1000
"""Characters of a reply that are kept for logs and the spool."""


@dataclass(frozen=True, slots=True)
class HopReply:
    """One reply of a next hop.

    Args:
        code: 200 to 599.
        enhanced: its enhanced code, or "".
        lines: the texts of its lines, the enhanced code included.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        """Code and text in one line, at most 1,000 characters; an enhanced code that lines repeat stands once."""
        words = list(self.lines)
        if self.enhanced:
            start = f"{self.enhanced} "
            words[1:] = [line.removeprefix(start) for line in words[1:]]
        return f"{self.code} {' '.join(words)}".strip()[:_MAX_TEXT]

    def extensions(self) -> dict[str, str]:
        """The keywords of an EHLO reply, upper case, with their parameters (RFC 5321 section 4.1.1.1)."""
        found: dict[str, str] = {}
        for line in self.lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            if keyword:
                found[keyword.upper()] = parameters.strip()
        return found


class ReplyReader:
    """Collects bytes until replies are whole.

    `problem` is "" until something came that is no reply; after that nothing more is read.
    """

    __slots__ = ("_buffer", "_lines", "problem")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self.problem = ""

    def feed(self, data: bytes) -> Iterator[HopReply]:
        """Take bytes; yields the replies that they complete."""
        self._buffer += data
        while not self.problem:
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > _MAX_LINE_BYTES:
                    self._stop(bytes(self._buffer))
                return
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            reply = self._line(line.removesuffix(b"\r"))
            if reply is not None:
                yield reply

    def _line(self, line: bytes) -> HopReply | None:
        code = line[:3]
        separator = line[3:4]
        well_formed = len(code) == 3 and code.isdigit() and code[:1] in b"2345" and separator in (b"", b" ", b"-")
        if not well_formed or len(line) > _MAX_LINE_BYTES or len(self._lines) >= _MAX_LINES:
            self._stop(line)
            return None
        if separator != b"-" and not self._lines:
            return _one_line(line)
        self._lines.append(_clean(line[4:]))
        if separator == b"-":
            return None
        lines, self._lines = tuple(self._lines), []
        return HopReply(int(code), _enhanced(lines[0], code), lines)

    def _stop(self, line: bytes) -> None:
        self.problem = repr(_clean(line[:80]))
        self._buffer.clear()
        self._lines.clear()


@lru_cache(maxsize=256)
def _one_line(line: bytes) -> HopReply:
    """The usual reply: hops say the same ones again and again."""
    text = _clean(line[4:])
    return HopReply(int(line[:3]), _enhanced(text, line[:3]), (text,))


def _clean(raw: bytes) -> str:
    text = raw[:_MAX_TEXT].decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _enhanced(text: str, code: bytes) -> str:
    """The enhanced code that a reply's text begins with, if its class fits the reply (RFC 2034 section 4)."""
    first = text.partition(" ")[0]
    parts = first.split(".")
    if len(parts) == 3 and all(part.isdigit() and len(part) <= 3 for part in parts) and parts[0] == chr(code[0]):
        return first
    return ""
