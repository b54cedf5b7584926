"""A command of the console in all processes that serve: asked here, done there, one answer.

A worker writes lines of JSON onto a socket that it got with the question: ``{"value": …}``, or ``{"items": […]}`` as
often as it takes and ``{"end": true}``; ``{"refused": text}`` says why not, also in the middle. They are read while the
answer is sent, so a listing is nowhere in memory as a whole, and a client that reads slowly holds up nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import select
import socket as sockets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import gevent
import gevent.socket

from gsmtp.control.command import COMMANDS, Command, CommandError, Output, Show
from gsmtp.control.console import Console
from gsmtp.control.parts import PARENT, Part, Parts
from gsmtp.core.errors import GsmtpError

if TYPE_CHECKING:
    from gsmtp.control.operations import Operations
    from gsmtp.control.workers import Workers

log = logging.getLogger("gsmtp.control")

QUESTION: Final = "command"
_READ_S: Final = 60.0
_CHANGE_S: Final = 600.0
"""How long a worker may say nothing: a change of a long queue takes its time."""
_READ_BYTES: Final = 65_536
_BUNDLE_BYTES: Final = 16_384
"""How large a line of items becomes."""


# --- the process that has the console


def perform(command: Command, show: Show, console: Console, words: Sequence[str]) -> Output:
    """Do a command wherever it has to be done. Raises CommandError."""
    assert command.gather is not None
    workers = console.operations.workers
    if workers is None:
        return show(console, words, Parts((Part(PARENT, command.gather(console, words)),)))
    parts = _ask(workers, command, console, words)
    output = show(console, words, parts)
    reason = parts.reason()

    def broken() -> str:
        now = parts.reason()
        return now if now != reason else ""

    remark = f"not done everywhere: {reason}" if reason and command.changes else reason
    return dataclasses.replace(
        output,
        remark="; ".join(text for text in (output.remark, remark) if text),
        is_whole=output.is_whole and not (reason and command.changes),
        broken=broken,
    )


def _ask(workers: Workers, command: Command, console: Console, words: Sequence[str]) -> Parts:
    assert command.gather is not None
    body = {"command": command.name, "words": [str(word) for word in words], "user": console.user}
    parts = Parts((), has_workers=True)
    silence_s = _CHANGE_S if command.changes else _READ_S
    streams = [Stream(member.slot, parts, silence_s) for member in workers.members]
    console.streams += streams
    asking = [gevent.spawn(stream.ask, workers, body) for stream in streams]
    found = []
    if command.here_too:
        try:
            found.append(Part(PARENT, command.gather(console, words)))
        except CommandError as error:
            parts.refused[PARENT] = str(error)
    gevent.joinall(asking, raise_error=True)
    parts.found = [*found, *(Part(one.slot, one.data) for one in streams if one.is_good)]
    if not parts.found:
        texts = set(parts.refused.values())
        raise CommandError(texts.pop() if len(texts) == 1 and not parts.missing else parts.reason())
    return parts


class Stream:
    """One worker's answer.

    Args:
        slot: of the worker.
        parts: learns why there is no answer, or no end of it.
        silence_s: how long it may say nothing.

    Attributes:
        data: what it said, when `is_good`.
        is_good: whether it was done there.
    """

    def __init__(self, slot: int, parts: Parts, silence_s: float) -> None:
        self.slot = slot
        self.data: Any = None
        self.is_good = False
        self._parts = parts
        self._silence_s = silence_s
        self._socket: Any = None
        self._buffer = bytearray()

    def ask(self, workers: Workers, body: dict[str, Any]) -> None:
        """Ask, and wait for the beginning of the answer."""
        ours, theirs = sockets.socketpair()
        self._socket = gevent.socket.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, fileno=ours.detach())
        self._socket.settimeout(self._silence_s)
        try:
            answered = workers.ask(self.slot, QUESTION, body, fds=[theirs.fileno()])
        finally:
            theirs.close()
        if answered.error:
            self._parts.missing[self.slot] = answered.error.removeprefix(f"{QUESTION}: ")
            self.close()  # one that only comes to it later does nothing
            return
        first = self._next()
        if first is None:
            return
        self.is_good = True
        if "value" in first:
            self.data = first["value"]
            self.close()
        else:
            self.data = self._items(first)

    def _items(self, bundle: dict[str, Any] | None) -> Iterator[Any]:
        while bundle is not None and "items" in bundle:
            yield from bundle["items"]
            bundle = self._next()
        self.close()

    def _next(self) -> dict[str, Any] | None:
        """The next line; None when there can't be one, which is told."""
        try:
            while b"\n" not in self._buffer:
                piece = self._socket.recv(_READ_BYTES)
                if not piece:
                    raise ConnectionResetError("its process is gone")
                self._buffer += piece
        except TimeoutError:
            self._parts.missing[self.slot] = f"it said nothing for {self._silence_s:g} s"
        except OSError as error:
            self._parts.missing[self.slot] = str(error)
        else:
            line, _, self._buffer = self._buffer.partition(b"\n")
            found: dict[str, Any] = json.loads(line)
            if "refused" not in found:
                return found
            self._parts.refused[self.slot] = found["refused"]
        self.close()
        return None

    def close(self) -> None:
        """Nobody reads any more."""
        if self._socket is not None:
            self._socket.close()


# --- a worker


def answer(operations: Operations, body: dict[str, Any], descriptor: int) -> None:
    """Do a worker's part of a command and write what comes of it; the descriptor is closed."""
    wire = gevent.socket.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, fileno=descriptor)
    try:
        if _is_given_up(descriptor):
            return
        for line in _lines(operations, body):
            wire.sendall(line.encode() + b"\n")
            gevent.sleep(0)
    except OSError:
        pass  # nobody wants to know any more
    finally:
        wire.close()


def _is_given_up(descriptor: int) -> bool:
    """Whether the operator was told already that nothing came of it: this process was stopped, or too busy."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))


def _lines(operations: Operations, body: dict[str, Any]) -> Iterator[str]:
    try:
        command = COMMANDS.get(body["command"])
        if command is None or command.gather is None:
            raise CommandError(f"no such command: {body['command']}")
        console = Console(operations, body["user"], host=operations.host)
        found = command.gather(console, body["words"])
        if isinstance(found, Iterator):
            yield from map(_bundle, _bundles(found))
            yield json.dumps({"end": True})
        else:
            yield json.dumps({"value": found})
    except GsmtpError as error:
        yield json.dumps({"refused": str(error)})
    except Exception:
        log.exception("console command failed: %s", body["command"])
        yield json.dumps({"refused": "the command failed: see the log"})


def _bundles(items: Iterator[Any]) -> Iterator[list[str]]:
    """Items as JSON, some together."""
    bundle: list[str] = []
    size = 0
    for item in items:
        text = json.dumps(item)
        bundle.append(text)
        size += len(text)
        if size >= _BUNDLE_BYTES:
            yield bundle
            bundle, size = [], 0
    if bundle:
        yield bundle


def _bundle(items: list[str]) -> str:
    return f'{{"items": [{",".join(items)}]}}'
