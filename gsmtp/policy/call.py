"""How a hook's method is called: with what, where, for how long, and what becomes of its trouble.

A `Call` is the function of a `chain.Hook`. It makes the handles of one call, has it made under its deadline, here or in
a native thread, and gives the decision. A hook that raises or is late costs its client one 451 and the log one entry,
unless its script says fail_open.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from gsmtp.core.envelope import Recipient
from gsmtp.core.reply import TOO_LARGE_TO_PROCESS, TRANSACTION_FAILED
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.handles import AuthResult, Conn, Ctx, Variables
from gsmtp.policy.judge import decide
from gsmtp.policy.message import Message, MessageTooLarge, Recipients
from gsmtp.runtime import calls
from gsmtp.spool.base import StoredBody

log = logging.getLogger("gsmtp.policy")

T = TypeVar("T")


class Calls(Protocol):
    """Makes calls under deadlines (`runtime.calls`); `gsmtp.testing` has a simpler one."""

    def here(self, deadline_s: float, function: Callable[..., T], *args: Any) -> T:
        """Call in this green thread."""

    def in_thread(self, pool: str, deadline_s: float, function: Callable[..., T], *args: Any) -> T:
        """Call in a native thread and wait."""


class ReadyText:
    """A text that can be read in a native thread: it is all there."""

    def __init__(self, stored: StoredBody) -> None:
        self._stored = stored

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self._stored.size_bytes

    def stored(self) -> StoredBody:
        """At once."""
        return self._stored

    def whole(self) -> bytes:
        """Read with blocking calls."""
        return b"".join(self._stored.pieces())


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one hook, as a chain calls it.

    Args:
        name: of the hook.
        phase: the method's.
        method: bound.
        calls: makes the calls.
        deadline_s: 0 for none.
        pool: of native threads, "" for the session's green thread.
        fail_open: whether trouble of the hook counts as nothing said.
        waits: whether it may wait; what doesn't has no deadline.
    """

    name: str
    phase: Phase
    method: Callable[..., object]
    calls: Calls
    deadline_s: float
    pool: str = ""
    fail_open: bool = False
    waits: bool = True

    def __call__(self, context: Context, event: Any) -> Decision | None:
        """Call the method for an event of its phase."""
        if self.phase is Phase.RCPT:
            event = RcptEvent(event.line, rcpt_message(context, event.recipient))
        try:
            if self.pool:
                noted, returned = self._call_in_thread(context, event)
            else:
                ctx, arguments = _arguments(self.phase, context, event)
                if self.waits:
                    returned = self.calls.here(self.deadline_s, self.method, *arguments)
                else:
                    returned = self.method(*arguments)
                noted = ctx.noted
        except MessageTooLarge as error:
            if self.fail_open:
                return None
            return Decision(TOO_LARGE_TO_PROCESS, str(error), self.name)
        except BaseException as error:  # noqa: BLE001 - gevent's Timeout and GreenletExit are no Exceptions
            return self._failed(context, error)
        return decide(self.name, self.phase, noted, returned)

    def _call_in_thread(self, context: Context, event: Any) -> tuple[list[Any], object]:
        """Call with copies, and take over what was done to them."""
        message = event if isinstance(event, Message) else None
        copy: Any = event
        if message is not None:
            text = ReadyText(message.text.stored()) if self.phase is not Phase.RCPT_LIST else None
            copy = message.detached(text)
        elif self.phase is Phase.RCPT:
            copy = RcptEvent(event.line, event.message.detached())
        conn, mess = dict(context.conn), dict(context.mess)
        ctx, arguments = _arguments(self.phase, context, copy, Variables(dict(conn)), Variables(dict(mess)))
        returned = self.calls.in_thread(self.pool, self.deadline_s, self.method, *arguments)
        _take_over(live_variables(context, context.conn), conn, ctx.conn)
        _take_over(live_variables(context, context.mess), mess, ctx.mess)
        if message is not None:
            message.adopt(copy)
        elif self.phase is Phase.RCPT:
            event.message.adopt(copy.message)
        return ctx.noted, returned

    def _failed(self, context: Context, error: BaseException) -> Decision | None:
        trace = "".join(traceback.format_exception(type(error), error, _theirs(error.__traceback__))).rstrip()
        log.error(
            "hook %s failed in phase %s, session %s: %s: %s\n%s",
            self.name,
            self.phase.value,
            context.facts.connection_id,
            "accepted, as fail_open says" if self.fail_open else "answered 451",
            f"{type(error).__name__}: {error}",
            trace,
        )
        return None if self.fail_open else Decision(TRANSACTION_FAILED, f"hook failed: {error}", self.name)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without our own frames in front."""
    own = (__file__, calls.__file__)
    step = trace
    while step is not None and step.tb_frame.f_code.co_filename in own:
        step = step.tb_next
    return step if step is not None else trace


@dataclass(slots=True)
class RcptEvent:
    """RCPT TO as a hook sees it.

    Args:
        line: the command line.
        message: whose `recipient` is in question.
    """

    line: str
    message: Message


def rcpt_message(context: Context, recipient: Recipient) -> Message:
    """The message of a RCPT TO: sender, recipients so far and the one in question."""
    transaction = context.session.transaction
    message = Message("", context.facts.connection_id, transaction.reverse_path, Recipients(transaction.recipients))
    message.recipient = recipient
    return message


def live_variables(context: Context, values: dict[str, str]) -> Variables:
    """A context as hooks change it."""
    around = context.around
    return Variables(values, around.change_pathway if around is not None else None)


def _arguments(
    phase: Phase, context: Context, event: Any, conn: Variables | None = None, mess: Variables | None = None
) -> tuple[Ctx, tuple[Any, ...]]:
    """The handles of one call, and the method's arguments."""
    handle = Conn(context, is_detached=conn is not None)
    recipients: Recipients | None = None
    message = event.message if isinstance(event, RcptEvent) else event
    if isinstance(message, Message):
        recipients = message.recipients
    ctx = Ctx(
        conn if conn is not None else live_variables(context, context.conn),
        mess if mess is not None else live_variables(context, context.mess),
        recipients,
    )
    return ctx, _BEHIND[phase](handle, ctx, event)


_BEHIND: dict[Phase, Callable[[Conn, Ctx, Any], tuple[Any, ...]]] = {
    Phase.CONNECT: lambda conn, ctx, _: (conn, ctx),
    Phase.BANNER: lambda conn, ctx, _: (conn, ctx),
    Phase.EHLO: lambda conn, ctx, event: (conn, ctx, event.line),
    Phase.AUTH: lambda conn, ctx, event: (conn, ctx, AuthResult(event.mechanism, event.user, event.status.value)),
    Phase.MAIL: lambda conn, ctx, event: (conn, ctx, event.line),
    Phase.RCPT: lambda conn, ctx, event: (conn, ctx, event.message, event.line),
    Phase.RCPT_LIST: lambda conn, ctx, event: (conn, ctx, event.recipients),
    Phase.DATA: lambda conn, ctx, event: (conn, ctx, event),
    Phase.DATA_SPOOL: lambda conn, ctx, event: (conn, ctx, event),
    Phase.EACH_RCPT: lambda conn, ctx, event: (conn, ctx, event),
    Phase.SET_BINDING: lambda conn, ctx, event: (event,),
    Phase.FINAL: lambda conn, ctx, event: (conn, ctx, event),
    Phase.CLOSE: lambda conn, ctx, _: (conn, ctx),
}


def _take_over(live: Variables, before: dict[str, str], after: Variables) -> None:
    """Change a context as a hook changed its copy."""
    for key, value in after.items():
        if before.get(key) != value:
            live[key] = value
    for key in before:
        if key not in after:
            live.pop(key, None)
