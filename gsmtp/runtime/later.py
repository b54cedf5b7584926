"""Work that is put together: done once, a moment after it was first asked for, or when nothing else is to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent


class Later:
    """Runs a function on the hub once `delay_s` after `arm`, however often `arm` was called meanwhile.

    Args:
        delay_s: seconds; 0 for the end of this turn of the loop.
        function: must not block.
    """

    __slots__ = ("_delay_s", "_function", "_is_armed", "_loop", "_timer")

    def __init__(self, delay_s: float, function: Callable[[], object]) -> None:
        self._delay_s = delay_s
        self._function = function
        self._is_armed = False
        self._loop: Any = gevent.get_hub().loop
        self._timer: Any = None

    def arm(self) -> None:
        """Have the function run soon. One comparison when it will already."""
        if self._is_armed:
            return
        self._is_armed = True
        if not self._delay_s:
            self._loop.run_callback(self._run)
            return
        # a new one each time: libev restarts a timer that has fired with no time left
        self._timer = self._loop.timer(self._delay_s)
        self._timer.start(self._run)

    def disarm(self) -> None:
        """Not any more, if it was to run; `arm` works as before."""
        self._is_armed = False
        self._drop_timer()

    def _run(self) -> None:
        self._drop_timer()
        if self._is_armed:
            self._is_armed = False
            self._function()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


class WhenIdle:
    """Runs a function on the hub once nothing else is to be done there, however often `arm` was called meanwhile.

    So what leads to work in another thread is put together as far as that costs no time: while the hub is busy more may
    come, and the other thread would only take the interpreter away from it.

    Args:
        most_s: seconds after which a busy hub runs it all the same.
        function: must not block.
    """

    __slots__ = ("_function", "_idle", "_is_armed", "_limit")

    def __init__(self, most_s: float, function: Callable[[], object]) -> None:
        loop: Any = gevent.get_hub().loop
        self._function = function
        self._is_armed = False
        self._idle: Any = loop.idle()
        self._limit: Any = loop.timer(most_s, most_s)

    def arm(self) -> None:
        """Have the function run soon. One comparison when it will already."""
        if not self._is_armed:
            self._is_armed = True
            self._idle.start(self._run)
            self._limit.again(self._run, update=False)  # unlike `start`, sets the full time each time

    def disarm(self) -> None:
        """Not any more, if it was to run; `arm` works as before."""
        self._is_armed = False
        self._idle.stop()
        self._limit.stop()

    def _run(self) -> None:
        self.disarm()
        self._function()
