"""Dots at line starts: how a body is made fit for DATA. No I/O."""

from __future__ import annotations


class DotStuffer:
    """Makes a body fit for DATA, in pieces of any cut: doubles dots at line starts and ends it with CRLF.CRLF.

    Lines end in CR LF only; a dot after a lone LF is left alone, as the message would otherwise arrive changed.
    Source: RFC 5321 section 4.5.2.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def stuff(self, piece: bytes) -> bytes:
        """The piece as it goes over the wire."""
        before = self._tail
        self._tail = (before + piece[-2:])[-2:]
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        if before == b"\r\n" and piece[:1] == b".":
            return b"." + stuffed
        if before[-1:] == b"\r" and piece[:2] == b"\n.":
            return b"\n." + stuffed[1:]
        return stuffed

    def end(self) -> bytes:
        """The end of the body: a line end if it had none, and the final dot."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
