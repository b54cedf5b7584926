"""`run_in_pool`: how a hook that runs in its session's green thread has something computed in a native thread.

Source: reference/policy-and-context.md section 3 (msys.runInPool).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def _run_here(_pool: str, function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


_runner: list[Callable[..., Any]] = [_run_here]


def run_in_pool(pool: str, function: Callable[..., T], *args: Any) -> T:
    """Run a function in a native thread of a ThreadPool and wait for it; other sessions go on meanwhile.

    Without a server (in a test) it just runs. The function must not touch anything of gevent or of the session.

    Args:
        pool: name of a ThreadPool, e.g. ``"CPU"``.
        function: what to run.
        args: its arguments.

    Raises:
        ValueError: there is no ThreadPool of that name.
    """
    result: T = _runner[0](pool, function, *args)
    return result


def use_pools(run: Callable[..., Any] | None) -> None:
    """Have a server's pools used from now on; None for none."""
    _runner[0] = run or _run_here
