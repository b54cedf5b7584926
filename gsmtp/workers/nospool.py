"""The spool of a process that takes no mail: a parent, whose sessions are those of the console only."""

from __future__ import annotations

from typing import Any, cast

from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.spool.base import Spool


class _NoSpool:
    generation = 0

    def unhealthy_reason(self) -> SpoolError:
        return SpoolUnhealthy("this process keeps no mail")

    def __getattr__(self, name: str) -> Any:
        raise SpoolUnhealthy(f"{name}: this process keeps no mail, its workers do")


def no_spool() -> Spool:
    """One that refuses everything."""
    return cast(Spool, _NoSpool())
