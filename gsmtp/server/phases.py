"""The message phases of policy, once the text of a message is there: what becomes of it and of each recipient.

Source: reference/policy-and-context.md section 1.
"""

from __future__ import annotations

from dataclasses import replace

import gevent.event

from gsmtp.core.envelope import Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.core.reply import NO_RECIPIENTS
from gsmtp.policy.chain import Chain
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.message import Message
from gsmtp.runtime.native import NativePool
from gsmtp.spool.base import BodyWriter, StoredBody

Judged = tuple[Recipient, Decision]

_WHOLE = (Phase.RCPT_LIST, Phase.DATA, Phase.DATA_SPOOL)
_EACH = (Phase.EACH_RCPT, Phase.SET_BINDING, Phase.FINAL)

_JUDGED, _SPOOLED = "sending body response", "async body response"


class MessagePhases:
    """One message's way through them.

    Args:
        chain: the hooks.
        context: of the session.
        message: the message.

    Attributes:
        refused: recipients that policy refused, each with its decision.
        discarded: recipients that are to be forgotten.
        state: Momentum's name of the reception state (reference/console-and-logs.md section 4).
    """

    __slots__ = ("_chain", "_context", "discarded", "message", "refused", "state")

    def __init__(self, chain: Chain, context: Context, message: Message) -> None:
        self._chain = chain
        self._context = context
        self.message = message
        self.refused: list[Judged] = []
        self.discarded: list[Judged] = []
        self.state = _JUDGED

    @property
    def may_block(self) -> bool:
        """Whether a hook may wait: then `run` needs a green thread."""
        return not self._chain.blocking.isdisjoint((*_WHOLE, *_EACH))

    def run(self) -> Decision:
        """Ask all hooks. The decision concerns the message: refused, discarded, or on its way with what is noted here.

        When each recipient is refused so is the message; a temporary refusal is told before a permanent one.
        """
        chain = self._chain
        message = self.message
        delay_s = 0.0
        for phase in _WHOLE:
            self.state = _SPOOLED if phase is Phase.DATA_SPOOL else _JUDGED
            decision = chain.run(phase, self._context, message)
            delay_s += decision.delay_s
            if decision.reply is not None:
                return replace(decision, delay_s=delay_s)
            if phase is Phase.RCPT_LIST:
                message.recipients.is_open = False
                if not len(message.recipients):
                    return Decision(NO_RECIPIENTS, "policy removed all recipients", delay_s=delay_s)
        message.is_locked = True
        if any(chain.has(phase) for phase in _EACH):
            delay_s += self._each()
        if self.refused and len(self.refused) == len(message.recipients):
            _, worst = min(self.refused, key=lambda one: one[1].reply.code >= 500 if one[1].reply else False)
            return replace(worst, delay_s=delay_s)
        return Decision(None, delay_s=delay_s)

    def _each(self) -> float:
        message = self.message
        mess = self._context.mess
        delay_s = 0.0
        for recipient in message.recipients:
            if recipient.drop:
                continue
            message.recipient = recipient
            message.binding = ""
            show_recipient(mess, recipient)
            for phase in _EACH:
                decision = self._chain.run(phase, self._context, message)
                delay_s += decision.delay_s
                if decision.reply is not None:
                    (self.discarded if decision.is_discard else self.refused).append((recipient, decision))
                    break
            recipient.binding = message.binding
        message.recipient = None
        return delay_s


def show_recipient(mess: dict[str, str], recipient: Recipient) -> None:
    """Let the message's context tell of a recipient."""
    mess["rcptto_string"] = f"RCPT TO:<{recipient.original or recipient.address}>"
    mess["rcptto_localpart"] = recipient.address.rpartition("@")[0] or recipient.address
    mess["rcptto_domain"] = recipient.domain


class SpooledText:
    """The text of a message that is on its way into the spool.

    Args:
        body: its writer; all of it was written.
        native: threads that read a large one; None reads here.
    """

    __slots__ = ("_body", "_native")

    def __init__(self, body: BodyWriter, native: NativePool | None) -> None:
        self._body = body
        self._native = native

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self._body.size_bytes

    def stored(self) -> StoredBody:
        """Where it is. Waits in the calling green thread while a large one is on its way to its file.

        Raises:
            SpoolError: it can't be written.
        """
        found: list[tuple[StoredBody | None, SpoolError | None]] = []
        ready = gevent.event.Event()

        def settled(stored: StoredBody | None, error: SpoolError | None) -> None:
            found.append((stored, error))
            ready.set()

        self._body.settle(settled)
        if not found:
            ready.wait()
        stored, error = found[0]
        if stored is None:
            raise error or SpoolError("the text is gone")
        return stored

    def whole(self) -> bytes:
        """All of it. Waits as `stored` does, and for a native thread that reads a file."""
        stored = self.stored()
        if stored.data is not None or self._native is None:
            return _read(stored)
        return self._native.call(_read, stored)


def _read(stored: StoredBody) -> bytes:
    return b"".join(stored.pieces())
