"""Work that is put together: done once, a moment after it was first asked for."""

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
