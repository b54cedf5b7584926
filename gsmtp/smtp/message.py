"""The format rules of a message, applied while it comes: size, lone CR and LF, line length, header section.

`MessageFilter` is given a message's octets in pieces and gives back what is to be kept, fixes applied and trace fields
in front. A message that breaks several rules is refused with the reply that comes first in this order, whatever order
the faults came in and however the stream was cut: size, size of the header section, lone CR or LF in the header, in
the body, header line too long, body line too long, malformed header, too many hops, missing Date.

The header section is held until it is whole (at most 256 KiB); the rest passes through.

Source: reference/esmtp-listener.md section 10.1; the numbers of RFC 5322.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gsmtp.core.reply import (
    BODY_LINE_TOO_LONG,
    DATE_MISSING,
    HEADER_LINE_TOO_LONG,
    HEADER_NOT_TERMINATED,
    HEADER_TOO_BIG,
    HEADERS_MISSING,
    INVALID_HEADER,
    LONE_LF_IN_BODY,
    LONE_LF_IN_HEADERS,
    MAIL_LOOP,
    TOO_BIG,
    Reply,
)
from gsmtp.smtp import auth_results, trace
from gsmtp.smtp.body import LoneScan

MOST_HEADER_BYTES: Final = 262_144
"""A larger header section is refused with 552; less could not hold what mailing lists and gateways add."""

MOST_HOPS: Final = 100
"""More Received fields than this mean a loop; RFC 5321 section 6.3 asks for a threshold of at least 100."""
_LOOP_BYTES: Final = MOST_HOPS * len("Received:")

_LONE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_FIELD: Final = re.compile(rb"[!-9;-~]++[ \t]*+:")
_BAD_LINE: Final = re.compile(rb"\r\n(?![!-9;-~]++[ \t]*+:|[ \t]|\r\n|\Z)")
_DATE: Final = re.compile(rb"^date[ \t]*:", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID: Final = re.compile(rb"^message-id[ \t]*:", re.IGNORECASE | re.MULTILINE)
_RETURN_PATH: Final = re.compile(rb"^return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)


class Rank(IntEnum):
    """Which fault is told when there are several: the lowest."""

    DRIVER = 0
    SIZE = 1
    HEADER_SIZE = 2
    LONE_IN_HEADER = 3
    LONE_IN_BODY = 4
    HEADER_LINE = 5
    BODY_LINE = 6
    HEADER = 7
    LOOP = 8
    DATE = 9
    NONE = 10


_NO_FAULT: Final = int(Rank.NONE)


@dataclass(frozen=True, slots=True)
class MessageRules:
    """The format options of one view.

    Args:
        max_size: `Max_Message_Size`, 0 for no limit.
        fix_header: whether a lone CR or LF in the header section becomes CR LF; else it is refused.
        lone_in_body: ``"ignore"``, ``"pedantic"`` or ``"fix"``.
        line_limit: octets of a line without its CR LF, 0 when lines may have any length.
        fix_lines: whether longer lines are broken; else they are refused.
        date: ``"ifneeded"``, ``"pedantic"`` or ``"ignore"``.
        add_message_id: whether a missing Message-ID is added.
        may_be_headerless: whether a message without a header section is taken.
        adds_trace: whether Return-Path and Received are put in front.
        hostname: `Received_Hostname`, for Received and for a Message-ID that is added.
    """

    max_size: int
    fix_header: bool
    lone_in_body: str
    line_limit: int
    fix_lines: bool
    date: str
    add_message_id: bool
    may_be_headerless: bool
    adds_trace: bool
    hostname: str


class MessageFilter:
    """One message on its way from the wire to the spool.

    Args:
        rules: the options.
        trace_fields: Return-Path and Received of this message, b"" when none are added.
        message_id: the queue id, for a Message-ID that is added.
        wall_s: the time for a Date that is added, whole seconds since the epoch.
        is_binary: BODY=BINARYMIME, whose body may hold any octets in lines of any length (RFC 3030 section 3).

    Attributes:
        fault: the reply with which the message is to be refused, or None.
        size_bytes: octets that came, transparency dots not counted (RFC 1870 section 5).
        kept_bytes: octets that were given back.
        is_date_missing: whether there was no Date field.
    """

    # No __slots__: most of these keep their class's value for most messages, which costs nothing to begin with.
    fault: Reply | None = None
    size_bytes = 0
    kept_bytes = 0
    is_date_missing = False
    _rank: int = _NO_FAULT
    _in_body = False
    _held: bytearray | None = None
    _is_lone_seen = False
    _line = b""
    _line_length = 0
    _out_scan: LoneScan | None = None

    def __init__(
        self, rules: MessageRules, trace_fields: bytes, message_id: str, wall_s: int, is_binary: bool = False
    ) -> None:
        self._rules = rules
        self._trace = trace_fields
        self._message_id = message_id
        self._wall_s = wall_s
        self._is_binary = is_binary
        self._is_checking = rules.line_limit != 0

    # --- the way through

    def feed(self, content: bytes, is_lone: bool = False, has_false_end: bool = False) -> bytes:
        """Take the next octets; returns what of the message can be kept by now.

        Args:
            content: never ends between the CR and the LF of a line end.
            is_lone: whether it holds a CR or LF that stands alone.
            has_false_end: whether the message so far holds a dot line that isn't its end (`body.LoneScan`).
        """
        rules = self._rules
        self.size_bytes += len(content)
        if rules.max_size and self.size_bytes > rules.max_size:
            self.refuse(Rank.SIZE, TOO_BIG)
        if has_false_end and rules.lone_in_body != "fix" and not self._is_binary:
            # Kept as it is, it would end the message for a next server that reads lone line ends.
            self.refuse(Rank.LONE_IN_BODY, LONE_LF_IN_BODY)
        if self._rank <= Rank.HEADER_SIZE:
            self._held = None
            return b""
        if not self._in_body:
            kept = self._header_piece(content, is_lone)
        elif is_lone or self._is_checking:
            kept = self._body(content, is_lone)
        else:
            kept = content
        if self.fault is not None:
            return b""
        self.kept_bytes += len(kept)
        return kept

    def finish(self) -> bytes:
        """The message is whole: the rest of what is to be kept. `fault` is final now."""
        if self._rank <= Rank.HEADER_SIZE:
            return b""
        kept = b""
        if not self._in_body:
            data = bytes(self._held or b"")
            kept = self._split(data, len(data))
        kept += self._line
        self._line = b""
        if self.fault is not None:
            return b""
        self.kept_bytes += len(kept)
        return kept

    def refuse(self, rank: int, reply: Reply) -> None:
        """Note a fault; it is told unless there is one of a lower rank."""
        if rank < self._rank:
            self._rank = rank
            self.fault = reply

    # --- the header section

    def _header_piece(self, content: bytes, is_lone: bool) -> bytes:
        if is_lone:
            self._is_lone_seen = True
        held = self._held
        if held is None:
            if not is_lone:
                # The way of nearly all messages: the header section in one piece, with nothing wrong in it.
                end = content.find(b"\r\n\r\n") + 4
                if 4 < end <= MOST_HEADER_BYTES and _FIELD.match(content):
                    self._in_body = True
                    rest = content[end:]
                    return self._header(content[:end]) + (self._body(rest, False) if self._is_checking else rest)
            end = self._header_end(content, 0)
            if end >= 0 or len(content) > MOST_HEADER_BYTES:
                return self._split(content, end)
            self._held = bytearray(content)
            return b""
        start = len(held)
        held += content
        end = self._header_end(held, start)
        if end >= 0 or len(held) > MOST_HEADER_BYTES:
            self._held = None
            return self._split(bytes(held), end)
        return b""

    def _header_end(self, data: bytes | bytearray, start: int) -> int:
        """Where the blank line ends, 0 when there can be no header section, -1 when it has not come yet."""
        if not start and data[:1] in (b"\r", b"\n"):
            return 0
        if not self._is_lone_seen:
            end = data.find(b"\r\n\r\n", max(0, start - 3))
            return end + 4 if end >= 0 else -1
        blank = _BLANK_LINE.search(data, max(0, start - 4))
        return blank.end() if blank else -1

    def _split(self, data: bytes, end: int) -> bytes:
        """The header section is whole, or too big: what is to be kept of all that came so far."""
        self._in_body = True
        is_lone = self._is_lone_seen
        if _FIELD.match(data, 0, MOST_HEADER_BYTES) is None:
            return self._headerless(data, is_lone)
        if end < 0 or end > MOST_HEADER_BYTES:
            self.refuse(Rank.HEADER_SIZE, HEADER_TOO_BIG)
            return b""
        head = data[:end]
        rest = data[end:]
        if is_lone:
            if _LONE.search(head):
                if self._rules.fix_header:
                    head = _LONE.sub(b"\r\n", head)
                else:
                    self.refuse(Rank.LONE_IN_HEADER, LONE_LF_IN_HEADERS)
            is_lone = _LONE.search(rest) is not None
        kept = self._header(head)
        return kept + self._body(rest, is_lone) if rest else kept

    def _headerless(self, data: bytes, is_lone: bool) -> bytes:
        if not self._rules.may_be_headerless:
            self.refuse(Rank.HEADER, HEADERS_MISSING)
        front = self._trace + self._added(b"")
        if front and not data.startswith(b"\r\n"):
            front += b"\r\n"
        return front + self._body(data, is_lone) if data else front

    def _header(self, head: bytes) -> bytes:
        """Check and complete a header section, its blank line (if the message has one) included."""
        if self._rank <= Rank.LONE_IN_HEADER:
            return b""
        if not head.endswith(b"\r\n"):
            self.refuse(Rank.HEADER, HEADER_NOT_TERMINATED)
            return b""
        rules = self._rules
        if rules.line_limit and max(map(len, head.split(b"\r\n"))) > rules.line_limit:
            if rules.fix_lines:
                head = b"\r\n".join([_fold(line, rules.line_limit) for line in head.split(b"\r\n")])
            else:
                self.refuse(Rank.HEADER_LINE, HEADER_LINE_TOO_LONG)
        if _BAD_LINE.search(head):
            self.refuse(Rank.HEADER, INVALID_HEADER)
            return b""
        lower = head.lower()
        if len(lower) > _LOOP_BYTES and (b"\n" + lower).count(b"\nreceived:") > MOST_HOPS:
            self.refuse(Rank.LOOP, MAIL_LOOP)
            return b""
        added = b""
        # `find` and not `in`, which first tries to take what it looks for as a number
        if lower.find(b"\r\ndate:") < 0 or lower.find(b"\r\nmessage-id:") < 0:
            added = self._added(lower)
        if self._trace and lower.find(b"return-path") >= 0:
            head = _RETURN_PATH.sub(b"", head)
        if lower.find(auth_results.NAME) >= 0:
            head = auth_results.without_claims(head, rules.hostname)
        if not added:
            return self._trace + head
        if head.endswith(b"\r\n\r\n"):
            return b"".join((self._trace, head[:-2], added, b"\r\n"))
        return self._trace + head + added

    def _added(self, lower: bytes) -> bytes:
        """The fields that are missing and wanted, for a header section in lower case."""
        rules = self._rules
        added = b""
        if b"\r\ndate:" not in lower and not lower.startswith(b"date:") and not _DATE.search(lower):
            self.is_date_missing = True
            if rules.date == "pedantic":
                self.refuse(Rank.DATE, DATE_MISSING)
            elif rules.date == "ifneeded":
                added = trace.date(self._wall_s)
        if rules.add_message_id and b"\nmessage-id:" not in lower and not _MESSAGE_ID.search(lower):
            added += trace.message_id(self._message_id, rules.hostname)
        return added

    # --- the body

    def _body(self, content: bytes, is_lone: bool) -> bytes:
        rules = self._rules
        if self._is_binary:
            return content
        if is_lone:
            if rules.lone_in_body == "pedantic":
                self.refuse(Rank.LONE_IN_BODY, LONE_LF_IN_BODY)
            elif rules.lone_in_body == "fix":
                content = _LONE.sub(b"\r\n", content)
        if not rules.line_limit:
            return content
        if rules.fix_lines:
            return self._broken(content)
        lengths = [len(line) for line in content.split(b"\r\n")]
        lengths[0] += self._line_length
        self._line_length = lengths[-1]
        if max(lengths) > rules.line_limit:
            self.refuse(Rank.BODY_LINE, BODY_LINE_TOO_LONG)
        return content

    def _broken(self, content: bytes) -> bytes:
        """Break lines that are too long; the one that has no end yet is held."""
        limit = self._rules.line_limit
        *lines, unfinished = (self._line + content).split(b"\r\n")
        kept: list[bytes] = []
        for line in lines:
            kept.extend(_pieces(line, limit) if len(line) > limit else (line,))
        if len(unfinished) > limit:
            *whole, unfinished = _pieces(unfinished, limit)
            kept.extend(whole)
        self._line = unfinished
        kept.append(b"")
        return self._checked(b"\r\n".join(kept))

    def _checked(self, text: bytes) -> bytes:
        """Make sure that no line end of ours made a false end of data of a lone CR or LF that is kept.

        What has no line end yet needs no look: a dot behind a CR LF gets another dot on the way onwards.
        """
        if self._rules.lone_in_body == "ignore":
            self._out_scan = self._out_scan or LoneScan()
            self._out_scan.scan(text)
            if self._out_scan.has_false_end:
                self.refuse(Rank.LONE_IN_BODY, LONE_LF_IN_BODY)
        return text


def _character_start(line: bytes, cut: int) -> int:
    """`cut`, or up to three octets before it, so that no UTF-8 character is torn."""
    for earlier in range(cut, max(cut - 4, 0), -1):
        if line[earlier] & 0xC0 != 0x80:
            return earlier
    return cut


def _pieces(line: bytes, limit: int) -> list[bytes]:
    """Cut a body line behind the last blank within the limit, else at the limit; nothing is lost or added."""
    pieces = []
    while len(line) > limit:
        cut = line.rfind(b" ", 0, limit) + 1 or _character_start(line, limit)
        pieces.append(line[:cut])
        line = line[cut:]
    pieces.append(line)
    return pieces


def _fold(line: bytes, limit: int) -> bytes:
    """Fold a header line at blanks, or where there are none with a blank put in (RFC 5322 section 2.2.3).

    No line of the result is all blanks: some readers take such a line for the end of the header section.
    """
    if len(line) <= limit:
        return line
    limit = max(limit, 8)
    line = line.rstrip(b" \t")
    folded = []
    while len(line) > limit:
        cut = max(line.rfind(b" ", 1, limit + 1), line.rfind(b"\t", 1, limit + 1))
        if cut > 0 and not line[:cut].strip(b" \t"):
            line = b" " + line.lstrip(b" \t")
        elif cut > 0:
            folded.append(line[:cut])
            line = line[cut:]
        else:
            cut = _character_start(line, limit)
            folded.append(line[:cut])
            line = b" " + line[cut:]
    folded.append(line)
    return b"\r\n".join(folded)
