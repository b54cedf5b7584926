"""An operator at the console of a server that is a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from gsmtp.cli._console_client import Client, Place
from tests.support.crew import CrewServer, ids_in
from tests.support.wire import Wire


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


def send_to_all(server: CrewServer, least: int = 3, *, most: int = 200, text: bytes = b"x") -> list[str]:
    """Messages to two recipients, a connection each, until both workers have so many; their ids in order."""
    ids: list[str] = []
    while min(len(ids_in(server.folder_of(slot))) for slot in (1, 2)) < least:
        assert len(ids) < most, "one worker takes all connections"
        with Wire(server.port) as wire:
            wire.greet()
            wire.envelope(b"u%d@example.com" % len(ids))
            assert wire.say(b"RCPT TO:<v@example.org>").startswith(b"250 ")
            assert wire.say(b"DATA").startswith(b"354 ")
            wire.send(b"Subject: x\r\n\r\n" + text + b"\r\n.\r\n")
            ids.append(wire.line().decode().split()[-1])
    return ids


def slot_of(server: CrewServer, message_id: str) -> int:
    """The worker, of two, that has a message."""
    return next(slot for slot in (1, 2) if message_id in ids_in(server.folder_of(slot)))


@contextmanager
def console_of(server: CrewServer) -> Iterator[Operator]:
    """A session on the console of a server whose socket is `control` in its folder."""
    with Operator(str(server.folder / "control")) as operator:
        yield operator
