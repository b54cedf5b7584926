"""The inner parts of the SMTP machine: how commands are taken, text is read, replies are queued and sessions end.

What a driver uses is `session.Session`, which is built on this; verbs and extensions use what stands here under "for
verbs and extensions".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.reply import (
    AUTH_LINE_TOO_LONG,
    BARE_LINE_FEED,
    LINE_TOO_LONG,
    MISSING_TERMINATOR,
    TOO_BIG,
    TOO_MUCH_JUNK,
    UNRECOGNIZED,
    Reply,
)
from gsmtp.smtp.body import ChunkReader, DataReader
from gsmtp.smtp.buffer import BareLineFeed, InputBuffer, LineFault
from gsmtp.smtp.events import (
    NEED_DATA,
    BodyAbort,
    BodyEnd,
    BodyStart,
    Connect,
    Event,
    Greeting,
    Mail,
    NeedData,
    Quit,
    Rcpt,
    Refused,
)
from gsmtp.smtp.extension import Offer
from gsmtp.smtp.facts import Facts
from gsmtp.smtp.message import MessageFilter
from gsmtp.smtp.profile import first_profile, profile_for
from gsmtp.smtp.state import State
from gsmtp.smtp.transaction import NOTHING
from gsmtp.smtp.verbs import FOREIGN

RUNAWAY_FACTOR: Final = 10
"""A message of more than this times Max_Message_Size isn't read to its end (reference/esmtp-listener.md 10.1)."""

MOST_SKIPPED_BYTES: Final = 268_435_456
"""A refused chunk that announces more than this ends the session: 256 MiB is no honest mistake."""

_SYNTAX_FAULTS: Final = (501, 504, 555)
_CHUNK_STARTS: Final = BodyStart(True)
_NO_BINDINGS: Final[Mapping[str, bytes]] = MappingProxyType({})


@lru_cache(maxsize=16)
def _goodbye(hostname: str) -> Reply:
    return Reply(221, "2.0.0", (f"{hostname} closing connection",))


class Machine:
    """State and inner workings of one session; see `session.Session` for the attributes."""

    __slots__ = (
        "_base", "_chunk_refusal", "_chunks", "_clock", "_events", "_filter", "_input", "_junk", "_open",
        "_out", "_reader", "_received_from", "_row", "_state", "_step", "_taker",
        "auth_mechanism", "auth_result", "auth_user", "bad_commands", "banner", "candidate", "certified_user",
        "channel_bindings", "esmtp", "exchange", "facts", "helo", "is_authenticated", "is_early_talker",
        "is_enhanced", "is_over", "leftover", "messages", "outdated", "profile", "rcpt_commands", "recipients",
        "tls_cipher", "transaction", "unrecognized_commands", "view",
    )  # fmt: skip

    def __init__(self, view: View, facts: Facts, clock: Clock) -> None:
        self.view = view
        self.facts = facts
        self.profile = first_profile(view, facts.hostname)
        self._clock = clock
        self._input = InputBuffer(self.profile.longest_command)
        self._out = b""
        self._open: Event | None = Connect()
        self._events: tuple[Event, ...] = (self._open,)
        self._base = self._state = State.START
        self._row = self.profile.steps[State.START]
        self._step = self._row["NOOP"]
        self._reader: DataReader | ChunkReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk_refusal: Reply | None = None
        self._filter: MessageFilter | None = None
        self._received_from = ""
        self._junk = 0
        self._taker: Callable[[bytes], Event | None] | None = None
        self.transaction = self.candidate = NOTHING
        self.helo = ""
        self.esmtp = False
        self.is_over = False
        self.leftover = 0
        self.is_enhanced = False
        self.is_early_talker = False
        self.is_authenticated = False
        self.auth_user = ""
        self.auth_mechanism = ""
        self.auth_result = b""
        self.exchange: Any = None
        self.tls_cipher = ""
        self.certified_user = ""
        self.channel_bindings = _NO_BINDINGS
        self.outdated: Reply | None = None
        self.messages = 0
        self.recipients = 0
        self.rcpt_commands = 0
        self.bad_commands = 0
        self.unrecognized_commands = 0
        self.banner: tuple[str, ...] = ()

    # --- for verbs and extensions

    def answer(self, reply: Reply) -> Event | None:
        """Send a reply, and end the session if it says so. Gives None, for a handler to return: there is no event."""
        self._out += reply.wire(self.is_enhanced)
        if reply.close:
            self._finish("closed by reply")
        return None

    def answer_junk(self, reply: Reply) -> Event | None:
        """Answer a command that brings no transaction forward; one too many ends the session instead."""
        self._junk += 1
        limit = self.profile.most_junk
        if limit and self._junk > limit:
            return self.limit(TOO_MUCH_JUNK)
        return self.answer(reply)

    def refuse(self, reply: Reply) -> Event | None:
        """Refuse a command that is at fault, and tell the driver; it counts as junk."""
        if reply.code in _SYNTAX_FAULTS:
            self.bad_commands += 1
        self._tell(reply)
        return self.answer_junk(reply)

    def limit(self, reply: Reply) -> Event | None:
        """Refuse a command because of a limit, and tell the driver; it is no junk."""
        self._tell(reply)
        return self.answer(reply)

    def take_lines(self, taker: Callable[[bytes], Event | None] | None, longest: int = 0) -> None:
        """Give the next lines to an extension instead of the command table, until this is called with None.

        Args:
            taker: gets each line without its CR LF; it answers, or returns the event that the driver is to answer.
            longest: limit of such a line in octets, CR LF included.
        """
        self._taker = taker
        self._input.longest = longest if taker is not None else self.profile.longest_command

    @property
    def offer(self) -> Offer:
        """What is offered to this client, and why."""
        return self.profile.offer

    @property
    def pending_bytes(self) -> int:
        """Input that was received and not used."""
        return self._input.pending

    @property
    def state_name(self) -> str:
        """Momentum's name of the reception state (reference/console-and-logs.md section 4)."""
        if self._reader is not None:
            return "reading body"
        if self._open is not None:
            return _STATE_NAMES.get(type(self._open), "esmtp setup phase")
        if self._state is State.START:
            return "awaiting ehlo/helo"
        return "awaiting rcptto" if self._state is not self._base else "awaiting mailfrom"

    def end_transaction(self) -> None:
        """Forget the transaction, and a message that came in part."""
        self._abort_message()
        self.transaction = NOTHING
        self._reader = self._chunks = None
        self._move(self._base)

    def say_goodbye(self) -> Event | None:
        """Answer QUIT (RFC 5321 section 4.1.1.10)."""
        self.answer(_goodbye(self.profile.hostname))
        self._finish("quit")
        return None

    def begin_chunk(self, size_bytes: int, is_last: bool, refusal: Reply | None) -> Event | None:
        """A BDAT command: its chunk follows.

        Args:
            size_bytes: the chunk's length.
            is_last: whether the message ends with it.
            refusal: what to say when the chunk has been thrown away, or None when it is welcome.
        """
        limit = self.profile.message.max_size
        so_far = self._filter.size_bytes if self._filter is not None else 0
        if limit and so_far + size_bytes > limit * RUNAWAY_FACTOR:
            return self._end_runaway()
        if refusal is not None and size_bytes > MOST_SKIPPED_BYTES:
            return self.answer(refusal.closing())
        chunks = self._chunks
        is_first = chunks is None
        if chunks is None:
            chunks = self._chunks = ChunkReader()
        chunks.begin(size_bytes, is_last)
        if refusal is None and is_first:
            return _CHUNK_STARTS
        self._chunk_refusal = refusal
        self._reader = chunks
        return None

    def _tell(self, reply: Reply) -> None:
        self._events += (Refused(reply, self.state_name),)

    def _begin_anew(self) -> None:
        """Forget all that the client said: greeting, transaction, login."""
        self._base = State.START
        self.end_transaction()
        self.helo = ""
        self.esmtp = self.is_enhanced = False
        self.is_authenticated = False
        self.auth_user = self.auth_mechanism = ""
        self.auth_result = b""
        self.exchange = None
        self.take_lines(None)
        self._received_from = ""

    def _use(self, offer: Offer) -> None:
        """Take another view or another offer; the state stays."""
        self.view = offer.view
        self.profile = profile_for(offer, self.facts.hostname)
        self._move(self._state)
        self._received_from = ""
        if self._taker is None:
            self._input.longest = self.profile.longest_command

    # --- commands

    def _move(self, state: State) -> None:
        self._state = state
        self._row = self.profile.steps[state]

    def _command(self, line: bytes) -> Event | None:
        text = line.decode("utf-8", "surrogateescape")
        word, _, argument = text.partition(" ")
        step = self._row.get(word)
        if step is None:
            # Only ASCII: there are letters whose upper case is an ASCII one.
            name = word.upper() if word.isascii() else ""
            step = self._row.get(name)
            if step is None:
                is_hopeless = name in FOREIGN or name in self.profile.diverting
                self.unrecognized_commands += 1
                return self.refuse(UNRECOGNIZED.closing() if is_hopeless else UNRECOGNIZED)
        verb = step.verb
        if verb.ends_pipelining and self._input.pending:
            self.is_early_talker = True
        if step.refusal is not None:
            if verb.run_refused is None:
                return self.refuse(step.refusal)
            verb.run_refused(self, argument, step.refusal)
            return None
        self._step = step
        self._open = event = verb.run(self, argument, text)
        return event

    def _bad_line(self, fault: LineFault) -> None:
        too_long = LINE_TOO_LONG if self._taker is None else AUTH_LINE_TOO_LONG
        if isinstance(fault, BareLineFeed):
            self.limit(BARE_LINE_FEED)
        elif fault.is_fatal:
            self.limit(too_long.closing())
        else:
            self.take_lines(None)
            self.refuse(too_long)

    def _take(self, line: bytes) -> Event | None:
        """A line that an extension asked for."""
        taker = self._taker
        assert taker is not None
        self._open = event = taker(line)
        return event

    def _starved(self) -> Event | NeedData | None:
        """All input is used: wait for more, or notice that there will be none."""
        if not self._input.is_ended:
            self._input.compact()
            return NEED_DATA
        if isinstance(self._reader, DataReader):
            # The peer may still listen: it learns that its message was not taken.
            self._out += MISSING_TERMINATOR.wire(self.is_enhanced)
        self._finish("peer closed")
        return None

    def _finish(self, reason: str) -> None:
        if self.is_over:
            return
        if not isinstance(self._open, BodyEnd):
            self._abort_message()
        self._reader = None
        self.leftover = self._input.pending
        self._input.clear()
        self._events += (Quit(reason),)
        self.is_over = True

    def _abort_message(self, reply: Reply | None = None) -> None:
        if self._filter is not None:
            self._filter = None
            self._events += (BodyAbort(reply),)

    def _end_runaway(self) -> Event | None:
        self._abort_message(TOO_BIG)
        return self.answer(TOO_BIG.closing())


_STATE_NAMES: Final[Mapping[type, str]] = {
    Connect: "just connected",
    Greeting: "awaiting ehlo/helo",
    Mail: "awaiting mailfrom",
    Rcpt: "awaiting rcptto",
    BodyStart: "data phase",
    BodyEnd: "async body response",
}
