"""An operator at the console of a server that is a process of its own."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from gsmtp.cli._console_client import Client, Place


class Operator:
    """One session.

    Args:
        path: of the Unix socket.
    """

    def __init__(self, path: str) -> None:
        self.client = Client(Place.parse(path))

    def __enter__(self) -> Operator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def say(self, line: str) -> list[str]:
        """A command's whole answer: the status line, and what is below it."""
        status, lines = self.client.call(line)
        return [f"{status.word} {status.text}".rstrip(), *lines]

    def lines(self, line: str) -> list[str]:
        """What a command says that must be done by all."""
        status, *lines = self.say(line)
        assert status == "OK", (line, status, lines)
        return lines

    def data(self, line: str) -> Any:
        """The same as data."""
        return json.loads("\n".join(self.lines(f"json {line}")))
