"""Thread pools in the configuration: those that are predefined, and what is wrong with a stanza's choice of one.

Source: reference/threadpools-eventloops.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gsmtp.config.titles import scope_title
from gsmtp.config.tree import Scope
from gsmtp.config.view import View


@dataclass(frozen=True)
class PoolDefaults:
    """Defaults of a predefined ThreadPool (reference/threadpools-eventloops.md section 1.1).

    Args:
        concurrency: size when the file says none.
        backlog: jobs that may wait; 0 means no limit.
        use: what it is for.
    """

    concurrency: int
    backlog: int
    use: str


PREDEFINED_POOLS: dict[str, PoolDefaults] = {
    "SwapOut": PoolDefaults(5, 0, "spool writes"),
    "SwapIn": PoolDefaults(5, 0, "spool reads"),
    "Unlink": PoolDefaults(6, 100, "removing spool files"),
    "Batch_Unlink": PoolDefaults(4, 0, "removing spool files in batches"),
    "Close": PoolDefaults(0, 0, "closing descriptors"),
    "CPU": PoolDefaults(4, 0, "jobs that need the processor"),
    "IO": PoolDefaults(50, 0, "jobs that may block, and listeners without a pool of their own"),
    "SpoolIn": PoolDefaults(1, 0, "reading the spool at start"),
}


def predefined_pool(name: str) -> PoolDefaults | None:
    """The predefined pool of that name, any case, or None."""
    return _POOLS_BY_KEY.get(name.lower())


_POOLS_BY_KEY = {name.lower(): defaults for name, defaults in PREDEFINED_POOLS.items()}


def pool_problem(scope: Scope, view: View, has_pool: Callable[[str], bool]) -> str:
    """Why a Listen is served by the IO pool although it asks for threaded accept, or "" when all is well."""
    settings = {name: _resolved(view, name) for name in ("concurrency", "pool_name", "event_loop")}
    name = settings["pool_name"]
    if name:
        return (
            "" if has_pool(name) else f'ThreadPool "{name}" of {scope_title(scope)} is not defined: the IO pool is used'
        )
    if settings["concurrency"] not in ("", "0") and not settings["event_loop"]:
        return f"{scope_title(scope)} sets Concurrency and names no Pool_Name: the IO pool is used"
    return ""


_SOCKET_SCOPES = ("listen", "esmtp_listener", "control_listener")


def _resolved(view: View, name: str) -> str:
    """The text of an option as the first scope of a view's chain sets it, or ""."""
    for scope in view.chain:
        setting = scope.settings.get(name) if scope.kind in _SOCKET_SCOPES else None
        if setting is not None:
            return str(getattr(setting.value, "text", ""))
    return ""
