"""A client of the console that shows exactly what came; for servers in the test's own process."""

from __future__ import annotations

import base64
import json
from typing import Any

from gevent import socket

from gsmtp.cli._sasl_client import MECHANISMS
from tests.support.inprocess import WAIT_S, Running


class ConsoleClient:
    """One session on the console.

    Args:
        address: path of a Unix socket, or host and port.
        source: the address to come from.
    """

    def __init__(self, address: str | tuple[str, int], source: str = "") -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, WAIT_S, (source, 0) if source else None)
        self.socket.settimeout(WAIT_S)
        self._file = self.socket.makefile("rb")
        self.greeting = self.answer()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self) -> list[str]:
        """The next answer: status line and text lines, [] when the server closed."""
        lines: list[str] = []
        while raw := self._file.readline():
            line = raw.decode().removesuffix("\n")
            if line == ".":
                return lines
            lines.append(line.removeprefix(".") if line.startswith(".") else line)
        return lines

    def say(self, line: str) -> list[str]:
        """A command's whole answer."""
        self.send(line.encode() + b"\n")
        return self.answer()

    def lines(self, line: str) -> list[str]:
        """The text lines of a command that must be done."""
        status, *lines = self.say(line)
        assert status == "OK", (line, status, lines)
        return lines

    def data(self, line: str) -> Any:
        """The data of a command that must be done."""
        return json.loads("\n".join(self.lines(f"json {line}")))

    def log_in(self, user: str, password: str, name: str) -> str:
        """The status line that a login ends with."""
        steps = MECHANISMS[name](user, password)
        initial = next(steps)
        status = self.say(f"login {name}" + ("" if initial is None else f" {base64.b64encode(initial).decode()}"))[0]
        while status.startswith("MORE"):
            response = steps.send(base64.b64decode(status[5:]))
            status = self.say(base64.b64encode(response or b"").decode())[0]
        return status

    def is_closed(self) -> bool:
        """Whether the server closes without saying more."""
        return self._file.read() == b""

    def close(self) -> None:
        """Close both directions."""
        self._file.close()
        self.socket.close()


def console_of(server: Running, number: int = 0, source: str = "") -> ConsoleClient:
    """A client of the n-th Listen of the Control_Listener."""
    found = server.supervisor._listeners
    listeners = [one for key, one in found.listeners.items() if key not in found.for_mail]
    address = listeners[number].address
    return ConsoleClient(address if isinstance(address, tuple) else str(address), source)
