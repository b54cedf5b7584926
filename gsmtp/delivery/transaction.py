"""One transaction of the client machine: what is said for a message, and which recipient got which answer. No I/O.

With CHUNKING the body goes by one BDAT LAST, since its size is known; one that fits into 4,096 bytes with MAIL and RCPT
goes right behind them, in one flight, where the hop pipelines, too. Under LMTP it waits for the replies to RCPT, as the
number of replies that follow the body depends on them.

Sources: RFC 5321, RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 2033 (LMTP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import LocalProtocolError
from gsmtp.delivery.commands import cannot_address, cannot_send, mail_command, rcpt_command
from gsmtp.delivery.dots import DotStuffer
from gsmtp.delivery.line import PIPELINE_BYTES, Command, Line
from gsmtp.delivery.replies import HopReply
from gsmtp.delivery.steps import Step
from gsmtp.delivery.transport import Outcome

_BDAT_BYTES = 32
"""Of the line ``BDAT size LAST``, at the most."""
_NO_BDAT = (500, 502, 503, 504)
"""Codes by which a hop says that it doesn't know BDAT, though it offered CHUNKING."""


class Transaction:
    """A message for some recipients.

    Args:
        line: takes the commands.
        tell: makes an Outcome of a code, a text and the body's bytes that were sent.
        is_lmtp: whether there is a reply for each accepted recipient behind the body.

    Attributes:
        is_answered: whether the hop answered anything.
        needs_reset: whether the hop's transaction is left open.
        chunking_refused: whether the hop doesn't know the BDAT that it offered: the message may be tried by DATA.
        sent_bytes: how much of the body was sent.
    """

    def __init__(self, line: Line, tell: Callable[[int, str, int], Outcome], *, is_lmtp: bool) -> None:
        self._line = line
        self._tell = tell
        self._is_lmtp = is_lmtp
        self.is_answered = False
        self.needs_reset = False
        self.chunking_refused = False
        self.sent_bytes = 0
        self._outcomes: list[Outcome | None] = []
        self._accepted: list[int] = []
        self._mail_accepted = False
        self._is_chunked = False
        self._can_do_without = True
        self._dots: DotStuffer | None = None
        self._chunk_left = -1
        self._size_bytes = 0
        self._farewell = ""

    def begin(
        self,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        size_bytes: int,
        extensions: Mapping[str, str],
        *,
        uses_chunking: bool,
        is_small: bool,
    ) -> None:
        """Say what is to be said; with nobody to say it for, the transaction is done at once."""
        self._outcomes = [None] * len(recipients)
        self._size_bytes = size_bytes
        problem = cannot_send(envelope, size_bytes, extensions)
        for index, recipient in enumerate(recipients):
            refused = problem or cannot_address(recipient.address, extensions)
            if refused:
                self._outcomes[index] = self._outcome(int(refused[:3]), refused)
        if all(self._outcomes):
            return
        line = self._line
        is_binary = envelope.body == "BINARYMIME"
        self._can_do_without = not is_binary
        self._is_chunked = is_binary or (uses_chunking and "CHUNKING" in extensions)
        line.say(Step.MAIL, mail_command(envelope, size_bytes, extensions))
        for index, recipient in enumerate(recipients):
            if self._outcomes[index] is None:
                line.say(Step.RCPT, rcpt_command(recipient, extensions), index)
        if not self._is_chunked:
            line.say(Step.DATA, b"DATA\r\n")
        elif is_small and "PIPELINING" in extensions and not self._is_lmtp and self._fits():
            line.pump(pipelining=True)
            self._begin_chunk()
        else:
            line.say(Step.DATA, b"")

    def _fits(self) -> bool:
        """Whether all of it fits into one read of any hop.

        Where it doesn't, a hop answers MAIL and RCPT before it has read the body; its next answer then waits for our
        kernel's delayed acknowledgement of the first one (Nagle's algorithm): Postfix took 45 ms instead of 3.
        """
        commands = sum(len(command.wire) for command in self._line.pending)
        return commands + _BDAT_BYTES + self._size_bytes <= PIPELINE_BYTES

    @property
    def wants_body(self) -> bool:
        """Whether the next hop waits for the body."""
        return self._dots is not None or self._chunk_left >= 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is outstanding."""
        return not self._line.awaiting and not self._line.pending and not self.wants_body

    def outcomes(self) -> list[Outcome]:
        """One a recipient, in order. Raises LocalProtocolError while one has none."""
        found = [outcome for outcome in self._outcomes if outcome is not None]
        if len(found) != len(self._outcomes):
            raise LocalProtocolError("a transaction ended with a recipient that has no outcome")
        return found

    def body(self, piece: bytes) -> bytes:
        """The bytes to send for one piece of the body."""
        self.sent_bytes += len(piece)
        if self._dots is not None:
            return self._dots.stuff(piece)
        if self._chunk_left < len(piece):
            raise LocalProtocolError("more body than its size said")
        self._chunk_left -= len(piece)
        return piece

    def end_body(self) -> None:
        """The body is complete."""
        if self._dots is not None:
            self._line.add(self._dots.end())
            self._dots = None
        elif self._chunk_left:
            raise LocalProtocolError("less body than its size said")
        self._chunk_left = -1
        self._await_final()

    def give_up(self, text: str) -> None:
        """The connection is over: who has no answer yet gets `text`."""
        self._dots = None
        self._chunk_left = -1
        text = self._farewell or text
        self._answer_the_rest(int(text[:3]), text)

    def on_reply(self, command: Command, reply: HopReply) -> str:
        """Take a reply; a text when the connection is of no more use after it, else ""."""
        if reply.code == 421:
            # RFC 5321 section 3.8: the hop shuts the channel; nobody else will get an answer. One that has the body
            # already may take it all the same for those it accepted before, and they must not get it twice.
            if command.step is Step.FINAL or not self._is_body_out():
                return reply.text
            self._farewell = self._farewell or reply.text
        self.is_answered = True
        wanted = 3 if command.step is Step.DATA else 2
        if reply.code < 400 and reply.code // 100 != wanted:
            return f"451 4.5.0 [internal] unexpected reply to {command.step.value}: {reply.text}"
        match command.step:
            case Step.MAIL:
                self._on_mail(reply)
            case Step.RCPT:
                self._on_rcpt(command.index, reply)
            case Step.DATA:
                return self._on_data(reply)
            case _ if self._farewell and not reply.is_ok:
                return self._farewell
            case _:
                self._on_final(command.index, reply)
                return self._farewell
        return ""

    def _is_body_out(self) -> bool:
        return any(command.step is Step.FINAL for command in self._line.awaiting)

    def _on_mail(self, reply: HopReply) -> None:
        if reply.is_ok:
            self._mail_accepted = True
            return
        self._answer_the_rest(reply.code, reply.text)
        self._line.pending.clear()

    def _on_rcpt(self, index: int, reply: HopReply) -> None:
        if reply.is_ok:
            if self._mail_accepted:
                self._accepted.append(index)
        elif self._outcomes[index] is None:
            self._outcomes[index] = self._outcome(_rcpt_code(reply), reply.text)
        pending = self._line.pending
        if pending and pending[0].step is Step.DATA and not self._more_recipients_awaited():
            if not self._accepted:
                pending.clear()
                self.needs_reset = True
            elif not pending[0].wire:
                pending.clear()
                self._begin_chunk()

    def _more_recipients_awaited(self) -> bool:
        return any(command.step is Step.RCPT for command in self._line.awaiting)

    def _begin_chunk(self) -> None:
        """One BDAT with the whole body: its size is known (RFC 3030 section 2)."""
        self._line.add(b"BDAT %d LAST\r\n" % self._size_bytes)
        self._chunk_left = self._size_bytes

    def _on_data(self, reply: HopReply) -> str:
        if reply.code >= 400:
            self._answer_the_rest(reply.code, reply.text)
            self._accepted = []
            self.needs_reset = True
        elif self._accepted:
            self._dots = DotStuffer()
        elif self._is_lmtp:
            # RFC 2033 section 4.2 forbids this 354; how many replies would follow a dot nobody knows.
            return "451 4.5.0 [internal] DATA was accepted without a recipient"
        else:
            # RFC 2920 section 3.1: the 354 came for nobody; an empty body ends it.
            self._line.add(b".\r\n")
            self._await_final()
        return ""

    def _await_final(self) -> None:
        if self._is_lmtp:
            for index in self._accepted:
                self._line.expect(Step.FINAL, index)
        else:
            self._line.expect(Step.FINAL)

    def _on_final(self, index: int, reply: HopReply) -> None:
        if self._is_chunked:
            if reply.code in _NO_BDAT and self._accepted and self._can_do_without:
                self.chunking_refused = True
            elif not reply.is_ok:
                # RFC 3030 section 2: what is left of the transaction after a BDAT that failed is not certain.
                self.needs_reset = True
        outcome = self._outcome(reply.code, reply.text)
        for place in [index] if index >= 0 else self._accepted:
            self._outcomes[place] = outcome

    def _answer_the_rest(self, code: int, text: str) -> None:
        outcome = self._outcome(code, text)
        self._outcomes = [known or outcome for known in self._outcomes]

    def _outcome(self, code: int, text: str) -> Outcome:
        return self._tell(code, text, self.sent_bytes)


def _rcpt_code(reply: HopReply) -> int:
    """552 to a RCPT with no other meaning says "too many recipients" and is temporary (RFC 5321 section 4.5.3.1.10)."""
    if reply.code == 552 and reply.enhanced in ("", "5.5.3"):
        return 452
    return reply.code
