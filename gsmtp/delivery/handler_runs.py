"""How handlers are called: in the delivery's green thread, in a native thread, or in a process of their own.

Each way gives one verdict a recipient, or raises HandlerFailed with a text for the queue; the traceback of a handler
that raised is logged here, once.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import gevent

from gsmtp.core.inboundmail import InboundMail, Offload, Verdict
from gsmtp.delivery.handler_child import judged
from gsmtp.delivery.handler_processes import WorkerFailed, Workers
from gsmtp.delivery.handlers import Handler, Source
from gsmtp.runtime.calls import Calls, DeadlinePassed

log = logging.getLogger("gsmtp.python")


class HandlerFailed(Exception):
    """There is no verdict: to be tried again.

    Args:
        text: why, on one line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Run(ABC):
    """One way to call one handler.

    Attributes:
        offload: for `InboundMail`, None where reading may block.
    """

    offload: Offload | None = None

    @abstractmethod
    def __call__(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """Call it. Blocks the green thread. Raises HandlerFailed."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """It is not called any more; what runs may end."""


class InGreenlet(Run):
    """Right here: for handlers that wait by gevent alone.

    Args:
        source: for messages.
        handler: to be called.
        offload: runs what blocks in a native thread.
    """

    def __init__(self, source: Source, handler: Handler, offload: Offload) -> None:
        self._source = source
        self._handler = handler
        self.offload = offload

    def __call__(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """See `Run`. One that never waits can't be broken off; its verdict counts whenever it comes."""
        deadline = gevent.Timeout(timeout_s)
        deadline.start()
        try:
            return judged(self._handler, mail)
        except gevent.GreenletExit:
            raise  # the process ends
        except BaseException as error:
            if error is deadline:
                raise _late(self._source, mail, timeout_s) from error
            raise _broke(self._source, mail, error) from error
        finally:
            deadline.close()


class InThread(Run):
    """In a native thread: for code that blocks.

    Args:
        source: for messages.
        handler: to be called.
        calls: makes calls in threads.
        pool: the name of the threads' pool.
    """

    def __init__(self, source: Source, handler: Handler, calls: Calls, pool: str) -> None:
        self._source = source
        self._handler = handler
        self._calls = calls
        self._pool = pool

    def __call__(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """See `Run`. One that is late goes on in its thread, which stays busy; what it says then is dropped."""
        try:
            said, error = self._calls.in_thread(self._pool, timeout_s, _attempt, self._handler, mail)
        except DeadlinePassed as late:
            raise _late(self._source, mail, timeout_s) from late
        if error is not None:
            raise _broke(self._source, mail, error) from error
        return said


class InProcess(Run):
    """In a process: for code that computes, crashes or can't be trusted to end.

    Args:
        source: of the handler.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.workers = Workers(source)

    def __call__(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """See `Run`."""
        try:
            return self.workers.handle(mail, timeout_s)
        except WorkerFailed as error:
            if not error.traceback:
                log.error("handler %s, message %s: %s", self._source, mail.id, error.text)
                raise HandlerFailed(f"handler {self._source}: {error.text}") from error
            log.error("handler %s failed with message %s\n%s", self._source, mail.id, error.traceback.rstrip())
            kind = error.text.partition(":")[0]
            raise HandlerFailed(f"{kind} in handler {self._source}, see the log") from error

    def close(self) -> None:
        """End the processes."""
        self.workers.close()


def _attempt(handler: Handler, mail: InboundMail) -> tuple[list[Verdict], BaseException | None]:
    """Call a handler and carry whatever it raises."""
    try:
        return judged(handler, mail), None
    except BaseException as error:  # noqa: BLE001 - a sys.exit() of a handler ends no thread
        return [], error


def _late(source: Source, mail: InboundMail, timeout_s: float) -> HandlerFailed:
    log.error("handler %s, message %s: not done within %g s", source, mail.id, timeout_s)
    return HandlerFailed(f"handler {source} was not done within {timeout_s:g} s")


def _broke(source: Source, mail: InboundMail, error: BaseException) -> HandlerFailed:
    log.error("handler %s failed with message %s", source, mail.id, exc_info=error)
    return HandlerFailed(f"{type(error).__name__} in handler {source}, see the log")


def offload_to(call: Callable[..., Any]) -> Offload:
    """What runs functions in native threads (`Native.call`) as an `Offload`."""

    def offload(function: Callable[[], Any]) -> Any:
        return call(function)

    return offload
