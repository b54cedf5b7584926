"""How message text becomes pieces to keep: read, judged, given out, and ended by DATA's dot or the last chunk.

Built on the inner machine; `gsmtp.smtp.answers` and `gsmtp.smtp.session` are built on this.
"""

from __future__ import annotations

from typing import Final

from gsmtp.core.reply import Reply
from gsmtp.smtp import trace
from gsmtp.smtp.body import ChunkReader
from gsmtp.smtp.events import Body, BodyAbort, BodyEnd, Event, NeedData
from gsmtp.smtp.machine import RUNAWAY_FACTOR, Machine
from gsmtp.smtp.message import MessageFilter
from gsmtp.smtp.state import State

_BODY_END: Final = BodyEnd()


class TextMachine(Machine):
    """A machine that reads message text."""

    __slots__ = ()

    def _trace_fields(self, wall_s: int) -> bytes:
        transaction = self.transaction
        if not self._received_from:
            facts = self.facts
            self._received_from = trace.received_from(
                facts.client_ip, facts.client_port, self.helo, self.profile.message.hostname
            )
        recipients = transaction.recipients
        protocol = self.protocol
        fields = trace.trace_fields(
            transaction.reverse_path,
            self._received_from,
            transaction.original,
            f"{protocol} (cipher={self.tls_cipher})" if self.tls_cipher else protocol,
            transaction.message_id,
            recipients[0].original if len(recipients) == 1 else "",
            wall_s,
        )
        if not self.auth_result:
            return fields
        # above our Received, which it belongs to (RFC 8601 section 4.1); Return-Path stays first
        return_path, received = fields.split(b"\r\n", 1)
        return b"%s\r\n%s%s" % (return_path, self.auth_result, received)

    @property
    def protocol(self) -> str:
        """The word for Received and the envelope (RFC 3848)."""
        utf8 = self.transaction.smtputf8
        return trace.PROTOCOL_WORDS[self.esmtp, self.tls_cipher != "", self.is_authenticated, utf8]

    def _read_text(self) -> Event | NeedData | None:
        """Use what came of the text; None when a chunk ended and commands follow, or the session is over."""
        reader = self._reader
        if self._chunk_refusal is not None:
            return self._skip_chunk()
        source = self._input
        message = self._filter
        assert reader is not None
        assert message is not None
        if source.pos == len(source.data) and self._chunks is None:
            return self._starved()
        content, source.pos = reader.read(source.data, source.pos)
        has_false_end = reader.scan.has_false_end
        kept = message.feed(content, reader.is_lone, has_false_end) if content or has_false_end else b""
        limit = self.profile.message.max_size
        if limit and message.size_bytes > limit * RUNAWAY_FACTOR:
            return self._end_runaway()
        if reader.is_at_end:
            return self._end_message(message, kept)
        if isinstance(reader, ChunkReader) and not reader.remaining:
            return self._end_chunk(reader, message, kept)
        return Body(kept) if kept else self._starved()

    def _end_message(self, message: MessageFilter, kept: bytes) -> Event:
        self._reader = None
        kept += message.finish()
        self.transaction.is_date_missing = message.is_date_missing
        fault = message.fault
        if fault is not None:
            self._filter = None
            self.end_transaction()
            self.answer_junk(fault)
            return BodyAbort(fault)
        self._open = _BODY_END
        if not kept:
            return _BODY_END
        self._events += (_BODY_END,)
        return Body(kept)

    def _end_chunk(self, reader: ChunkReader, message: MessageFilter, kept: bytes) -> Event | None:
        self._reader = None
        if message.fault is not None:
            self._filter = None
            self._move(State.CHUNKS_FAILED)
            self.answer_junk(message.fault)
            return BodyAbort(message.fault)
        self.answer(Reply(250, "2.0.0", (f"{reader.size_bytes} octets received",)))
        return Body(kept) if kept else None

    def _skip_chunk(self) -> Event | NeedData | None:
        reader = self._chunks
        refusal = self._chunk_refusal
        assert reader is not None
        assert refusal is not None
        source = self._input
        source.pos = reader.skip(source.data, source.pos)
        if reader.remaining:
            return self._starved()
        self._reader = None
        self._chunk_refusal = None
        if self._state not in (State.RCPT, State.CHUNKS, State.CHUNKS_FAILED):
            self._chunks = None
        elif reader.is_last:
            self.end_transaction()
        else:
            self._abort_message()
            self._move(State.CHUNKS_FAILED)
        return self.answer_junk(refusal)
