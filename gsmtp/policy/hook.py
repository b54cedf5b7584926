"""The class that policy is written in: a subclass of `Hook` with a method for each phase that it has a say in.

Source: reference/policy-and-context.md sections 1 and 3.1. How to write, configure and test one: docs/policy.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from gsmtp.policy.decision import Phase

if TYPE_CHECKING:
    from gsmtp.core.records import Record
    from gsmtp.policy.handles import AuthResult, Conn, Ctx
    from gsmtp.policy.message import Message, Recipients
    from gsmtp.policy.settings import Settings
    from gsmtp.policy.verdict import Verdict

T = TypeVar("T")


class Hook:
    """Policy in Python. Every method is optional; each may return a verdict, or None to go on with the next hook.

    One object serves all sessions, and calls of several sessions may be under way at a time: what belongs to a session
    goes into ``ctx.conn`` or ``ctx.mess``, not into ``self``.

    Attributes:
        name: for logs and for ``__bypass_NAME`` in the connection's context; "" for the script's name.
    """

    name: str = ""

    def init(self, config: Settings) -> bool:
        """Called once before the configuration takes effect. Anything but True makes the load fail."""
        return True

    def deinit(self) -> bool:
        """Called once when no configuration in force uses it any more."""
        return True

    def connect(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        """A client connected; nothing has been said yet. A refusal is sent instead of the banner and closes."""

    def banner(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        """The banner is about to be sent, after what `connect` held it back; as `connect`. A phase of gsmtp's own."""

    def ehlo(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        """EHLO or HELO. A refusal replaces the 250; the session stays."""

    def auth(self, conn: Conn, ctx: Ctx, result: AuthResult) -> Verdict | None:
        """A login was judged. A refusal replaces 235 or 535."""

    def mailfrom(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        """MAIL FROM, syntax checked. After a refusal there is no transaction."""

    def rcptto(self, conn: Conn, ctx: Ctx, message: Message, line: str) -> Verdict | None:
        """RCPT TO; ``message.recipient`` is the one in question, the only one that a refusal concerns."""

    def rcptto_list(self, conn: Conn, ctx: Ctx, recipients: Recipients) -> Verdict | None:
        """The list is complete: the last chance to change it. There is nothing to refuse here."""

    def data(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """The text has come. A refusal concerns the whole message."""

    def data_spool(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Just before the spool write; as `data`."""

    def each_rcpt(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """Once for each recipient, ``message.recipient``, which alone a refusal or a Discard concerns."""

    def set_binding(self, message: Message) -> None:
        """Once for each recipient: choose ``message.binding``. There is nothing to refuse here."""

    def final(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        """A last look, once for each recipient; as `each_rcpt`."""

    def record(self, record: Record) -> None:
        """Something is told to the logs, as a value of `gsmtp.core.records`: for counting. It must not wait.

        Called for every session, outside of all phases; ``record.peering`` says whose it is.
        """

    def dealloc(self, conn: Conn, ctx: Ctx) -> None:
        """The session is over: clean up."""


METHODS: Final = {
    Phase.CONNECT: "connect",
    Phase.BANNER: "banner",
    Phase.EHLO: "ehlo",
    Phase.AUTH: "auth",
    Phase.MAIL: "mailfrom",
    Phase.RCPT: "rcptto",
    Phase.RCPT_LIST: "rcptto_list",
    Phase.DATA: "data",
    Phase.DATA_SPOOL: "data_spool",
    Phase.EACH_RCPT: "each_rcpt",
    Phase.SET_BINDING: "set_binding",
    Phase.FINAL: "final",
    Phase.CLOSE: "dealloc",
}
"""The method of each phase."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a method is called; None where nothing was said.

    Args:
        pool: a native thread of that ThreadPool, "" for the session's green thread.
        deadline_s: seconds until it is given up, 0 for none.
        waits: whether it may wait. What never waits runs right in the loop's callback.
    """

    pool: str | None = None
    deadline_s: float | None = None
    waits: bool | None = None

    def under(self, wider: Manner) -> Manner:
        """What holds when `wider` says what this leaves open."""
        return Manner(
            wider.pool if self.pool is None else self.pool,
            wider.deadline_s if self.deadline_s is None else self.deadline_s,
            wider.waits if self.waits is None else self.waits,
        )


_MARK: Final = "_gsmtp_manner"
NATIVE_POOL: Final = "CPU"


def manner_of(thing: object) -> Manner:
    """What the decorators said of a method or, for itself alone, of a class."""
    marked = vars(thing).get(_MARK) if isinstance(thing, type) else getattr(thing, _MARK, None)
    return marked if isinstance(marked, Manner) else Manner()


def _mark(thing: T, manner: Manner) -> T:
    setattr(thing, _MARK, manner.under(manner_of(thing)))
    return thing


@overload
def in_thread(thing: T) -> T:
    """Without arguments."""


@overload
def in_thread(*, pool: str) -> Callable[[T], T]:
    """With the pool."""


def in_thread(thing: Any = None, *, pool: str = NATIVE_POOL) -> Any:
    """Run a method, or all methods of a class, in native threads: for what computes, or blocks as gevent can't see.

    Such a method sees copies: of both contexts and of the message. What it changed in them counts when it returns in
    time. It must not touch the session otherwise, nor anything of gevent.

    Args:
        thing: a method or a Hook class.
        pool: the ThreadPool whose size says how many run at a time.
    """
    if thing is None:
        return lambda it: _mark(it, Manner(pool=pool))
    return _mark(thing, Manner(pool=pool))


def deadline(seconds: float) -> Callable[[T], T]:
    """Give a method, or all methods of a class, a deadline of its own; 0 for none."""
    if seconds < 0:
        raise ValueError("a deadline can't be negative")
    return lambda thing: _mark(thing, Manner(deadline_s=float(seconds)))


def never_waits(thing: T) -> T:
    """Promise that a method, or all of a class, never waits for anything: it then runs without a green thread.

    Cheaper, and without a deadline: what computes for long holds up everybody.
    """
    return _mark(thing, Manner(pool="", waits=False))
