"""A session that is looked on: what both sides say, line by line, without what is secret.

Lines of an AUTH exchange are masked. Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gsmtp.core.lines import split
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.smtp.session import Session

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.core.clock import Clock
    from gsmtp.smtp.facts import Facts

    Watch = Callable[[Facts, bytes, bytes], object]

MASKED: Final = b"[masked]"
_AUTH: Final = re.compile(rb"(?i)\s*(auth)(?:\s+(\S+))?(.*)", re.DOTALL)


class TracedSession(Session):
    """A session of which both directions are told.

    Args:
        watch: told each line: the facts then, ``C`` or ``S``, the line without its end.
    """

    __slots__ = ("_from_client", "_is_secret", "_to_client", "_watch")

    def __init__(self, view: View, facts: Facts, clock: Clock, watch: Watch) -> None:
        super().__init__(view, facts, clock)
        self._watch = watch
        self._from_client = b""
        self._to_client = b""
        self._is_secret = False

    def receive_data(self, data: bytes) -> None:
        """As the machine's."""
        if not self.is_over:
            if not data:
                self._watch(self.facts, b"C", b"[no more]")
            else:
                self._from_client = self._split(b"C", self._from_client + data, self._masked)
        super().receive_data(data)

    def data_to_send(self) -> bytes:
        """As the machine's."""
        data = super().data_to_send()
        if data:
            self._to_client = self._split(b"S", self._to_client + data, _without_challenge)
            if self._is_secret and not self.in_exchange and not self.pending_bytes:
                self._is_secret = False
        return data

    def _masked(self, line: bytes) -> bytes:
        if self._is_secret or self.in_exchange:
            return MASKED
        found = _AUTH.fullmatch(line)
        if found is None or (self.in_body and (found[2] or b"").decode("latin-1") not in load_mechanisms()):
            return line  # in a message it may be text; behind its end in the same piece it may be a login
        self._is_secret = True
        return b" ".join(filter(None, (found[1], found[2], MASKED if found[3].strip() else b"")))

    def _split(self, side: bytes, data: bytes, shown: Callable[[bytes], bytes]) -> bytes:
        """Write whole lines; what is left."""
        return split(data, lambda line: self._watch(self.facts, side, shown(line)))


def _without_challenge(line: bytes) -> bytes:
    return b"334 " + MASKED if line.startswith(b"334 ") and len(line) > 4 else line
