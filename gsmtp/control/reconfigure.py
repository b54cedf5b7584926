"""Changes of the running configuration from the console: one at a time, and what is said when one fails."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gsmtp.control.command import CommandError
from gsmtp.core.errors import GsmtpError

if TYPE_CHECKING:
    from gevent.lock import BoundedSemaphore

    from gsmtp.config.tree import Tree
    from gsmtp.control.operations import Operations

T = TypeVar("T")


@functools.cache
def turn() -> BoundedSemaphore:
    """The lock that every edit holds from reading the running tree until its own is in force."""
    # Commands are loaded with all that declares, and what only checks a file loads no gevent.
    from gevent.lock import BoundedSemaphore

    return BoundedSemaphore(1)


def activate(operations: Operations, tree: Tree) -> None:
    """Let a tree take effect. Raises CommandError with the documented words and the reason; nothing changed then.

    Source: reference/console-and-logs.md section 3.
    """
    try:
        operations.activate(tree)
    except GsmtpError as error:
        raise failed(error) from None


def failed(error: GsmtpError) -> CommandError:
    """How a failed change is told."""
    return CommandError(f"Reconfigure failed\n{error}".rstrip())


def off_the_hub(operations: Operations, function: Callable[..., T], *args: Any) -> T:
    """Run what reads and writes files in a native thread and wait for it."""
    pool = operations.native_pools.get("IO")
    return function(*args) if pool is None else pool.call(function, *args)
