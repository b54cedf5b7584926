"""The console's protocol, client side: connect, log in, send a command, get its answer. Plain sockets.

What the lines mean is said in `gsmtp.control.wire` and docs/console.md.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gsmtp.cli._sasl_client import MECHANISMS, BadServer
from gsmtp.core.errors import GsmtpError

DEFAULT_SOCKET: Final = "/run/gsmtp/control"
FOLDER: Final = "/tmp"  # noqa: S108 - where Momentum's client looks for a socket that is named without a folder
CONNECT_S: Final = 10.0
ANSWER_S: Final = 600.0
_TCP: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.*-]*):(\d{1,5})")


class Unreachable(GsmtpError):
    """There is no console at that endpoint, or it doesn't let us in."""


class Closed(GsmtpError):
    """The server closed the session."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a console is.

    Args:
        endpoint: as given, for the prompt.
        address: path of a Unix socket, or host and port.
        user: to log in as, "" for the one who asks.
    """

    endpoint: str
    address: str | tuple[str, int]
    user: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read ``[user@]endpoint``: a path, ``host:port``, ``[IPv6]:port`` or the name of a socket in /tmp.

        >>> Place.parse("alice@127.0.0.1:2025")
        Place(endpoint='127.0.0.1:2025', address=('127.0.0.1', 2025), user='alice')
        >>> Place.parse("2025").address
        '/tmp/2025'
        """
        user, at, endpoint = text.rpartition("@")
        if at and "/" in user:
            user, endpoint = "", text
        found = _TCP.fullmatch(endpoint)
        if found is not None and "/" not in endpoint:
            host = found[1].strip("[]")
            return cls(endpoint, ("127.0.0.1" if host in ("", "*") else host, int(found[2])), user)
        path = endpoint if "/" in endpoint else f"{FOLDER}/{endpoint}"
        return cls(endpoint, path, user)


def looks_like_endpoint(word: str) -> bool:
    """Whether a word of the command line is an endpoint and no command."""
    return word.isdigit() or word[:1] in ("/", ".") or "@" in word or _TCP.fullmatch(word) is not None


@dataclass(frozen=True, slots=True)
class Status:
    """The first line of an answer.

    Args:
        word: OK, ERR or MORE.
        text: what follows it.
    """

    word: str
    text: str

    @property
    def is_good(self) -> bool:
        """Whether the command was done."""
        return self.word == "OK"


class Client:
    """One session.

    Args:
        place: of the console.

    Attributes:
        facts: what the greeting said: version, hostname, endpoint, user or mechanisms.

    Raises:
        Unreachable: nobody answers there, or not as a console does.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        try:
            if isinstance(place.address, str):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(CONNECT_S)
                self._socket.connect(place.address)
            else:
                self._socket = socket.create_connection(place.address, CONNECT_S)
        except OSError as error:
            raise Unreachable(_why_not(place, error)) from None
        self._file = self._socket.makefile("rb")
        try:
            status = self._status()
            lines = list(self.lines())
        except (OSError, GsmtpError) as error:
            self.close()
            raise Unreachable(f"no console answers at {place.endpoint}: {error}") from None
        if not status.is_good:
            self.close()
            raise Unreachable(f"{place.endpoint}: {status.text}")
        self._socket.settimeout(ANSWER_S)
        self.facts = dict(line.split(" ", 1) for line in lines if " " in line)

    @property
    def mechanisms(self) -> list[str]:
        """By which one has to log in; empty when one has not to."""
        return self.facts.get("mechanisms", "").split()

    @property
    def needs_login(self) -> bool:
        """Whether nothing is done before a login."""
        return "user" not in self.facts

    def send(self, line: str) -> Status:
        """Send a command; its lines are to be read with `lines`. Raises Closed."""
        try:
            self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\n")
            return self._status()
        except OSError as error:
            raise Closed(f"the server closed the session: {error}") from None

    def lines(self) -> Iterator[str]:
        """The text lines of the answer. Raises Closed."""
        while (line := self._line()) != ".":
            yield line.removeprefix(".") if line.startswith(".") else line

    def call(self, line: str) -> tuple[Status, list[str]]:
        """A whole answer. Raises Closed."""
        status = self.send(line)
        return status, list(self.lines())

    def log_in(self, user: str, password: Callable[[], str]) -> None:
        """Log in by the best mechanism that both sides know. Raises Unreachable."""
        name = next((one for one in self.mechanisms if one in MECHANISMS), "")
        if not name:
            offered = " ".join(self.mechanisms) or "nothing"
            raise Unreachable(f"{self.place.endpoint} wants a login and offers {offered}")
        steps = MECHANISMS[name](user, password())
        initial = next(steps)
        line = f"login {name}" + ("" if initial is None else f" {base64.b64encode(initial).decode() or '='}")
        try:
            while True:
                status, _ = self.call(line)
                if status.word != "MORE":
                    break
                line = base64.b64encode(steps.send(base64.b64decode(status.text)) or b"").decode()
        except (BadServer, StopIteration, ValueError) as error:
            self.close()
            raise Unreachable(str(error) or "the server asks too much") from None
        if not status.is_good:
            raise Unreachable(status.text)
        self.facts["user"] = user

    def _status(self) -> Status:
        word, _, text = self._line().partition(" ")
        if word not in ("OK", "ERR", "MORE"):
            raise Closed("the answer is none of a console")
        return Status(word, text)

    def _line(self) -> str:
        raw = self._file.readline(1 << 24)
        if not raw.endswith(b"\n"):
            raise Closed("the server closed the session")
        return raw[:-1].removesuffix(b"\r").decode("utf-8", "replace")

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self._socket.close()


def _why_not(place: Place, error: OSError) -> str:
    text = f"can't connect to {place.address if isinstance(place.address, str) else place.endpoint}: "
    if isinstance(error, FileNotFoundError):
        return text + "there is no such socket; is the server running, and has it a Control_Listener?"
    if isinstance(error, PermissionError):
        return text + "permission denied: its File_Mode and folder say who may connect"
    if isinstance(error, ConnectionRefusedError):
        return text + "nobody listens there"
    return text + (error.strerror or str(error))
