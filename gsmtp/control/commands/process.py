"""``version``, ``uptime``, ``pid``, ``sysinfo``, ``shutdown``: the server as a process.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from gsmtp import __version__
from gsmtp.control.command import CommandError, Output, command

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _none(words: Sequence[str], name: str) -> None:
    if words:
        raise CommandError(f"{name} takes no words")


@command("version", help="The product and its version.")
def version(console: Console, words: Sequence[str]) -> Output:
    """One line."""
    _none(words, "version")
    return Output((f"gsmtp {__version__}",), {"product": "gsmtp", "version": __version__})


@command("uptime", help="Since when the server runs.")
def uptime(console: Console, words: Sequence[str]) -> Output:
    """One line."""
    _none(words, "uptime")
    began_wall = console.operations.started_wall
    passed_s = max(int(time.time() - began_wall), 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began_wall))
    line = f"up {timedelta(seconds=passed_s)} ({passed_s} seconds) since {since}"
    return Output((line,), {"seconds": passed_s, "since": began_wall})


@command("pid", help="The number of the server's process.")
def pid(console: Console, words: Sequence[str]) -> Output:
    """One number."""
    _none(words, "pid")
    return Output((str(os.getpid()),), {"pid": os.getpid()})


@command("sysinfo", help="Version, Python, operating system and machine.")
def sysinfo(console: Console, words: Sequence[str]) -> Output:
    """A line each."""
    _none(words, "sysinfo")
    import platform

    uname = os.uname()
    data = {
        "Version": __version__,
        "Product": "gsmtp",
        "Python": platform.python_version(),
        "OS Release": _release(),
        "Uname": " ".join((uname.sysname, uname.nodename, uname.release, uname.version, uname.machine)),
    }
    return Output(tuple(f"{name}: {value}" for name, value in data.items()), data)


def _release() -> str:
    import platform

    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.platform()


@command(
    "shutdown",
    help="Stops the server as TERM does: no new connections, transactions under way end within Drain_Time.",
)
def shutdown(console: Console, words: Sequence[str]) -> Output:
    """Ask for it; the answer comes before the end."""
    _none(words, "shutdown")
    console.operations.request_stop()
    return Output(("Shutting down.",), {"stopping": True})
