"""Something that is done again and again, each time in a green thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent

log = logging.getLogger("gsmtp.periodic")


class Periodic:
    """Calls a function every `interval_s`, counted from the end of one call to the begin of the next.

    Args:
        interval_s: more than 0.
        function: may block; what it raises is logged, and it is called again.
    """

    def __init__(self, interval_s: float, function: Callable[[], object]) -> None:
        self._interval_s = interval_s
        self._function = function
        self._thread: Any = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._interval_s)
            try:
                self._function()
            except Exception:
                log.exception("what is done every %g s has failed", self._interval_s)

    def stop(self) -> None:
        """Not any more; a call that is under way is cut off where it waits."""
        self._thread.kill(block=False)
