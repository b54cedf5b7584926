r"""The console for people: prompt, history, completion, pager.

``quit`` (or Ctrl-D) ends it, ``\pager`` turns paging on and off, Ctrl-C forgets the line. A session that the server
closed because nobody typed is opened anew with the next command.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gsmtp.cli._console_client import Client, Closed, Unreachable

_HISTORY_LINES: Final = 1000
_QUIT: Final = ("quit", "exit", "\\q")
_BEGIN: Final = "config begin"
_END: Final = ("config commit", "config rollback")


class Interactive:
    """A person's session.

    Args:
        client: connected and logged in.
        reconnect: makes another one. Raises Unreachable.
    """

    def __init__(self, client: Client, reconnect: Callable[[], Client]) -> None:
        self._client = client
        self._reconnect = reconnect
        self._has_pager = False
        self._in_transaction = False
        self._found: list[str] = []

    def run(self) -> int:
        """Read commands and show answers until the person has enough. The exit status is 0."""
        print(_banner(self._client))
        with self._readline():
            while True:
                try:
                    line = input(f"{time.strftime('%H:%M:%S')} gsmtp({self._client.place.endpoint})> ").strip()
                except EOFError:
                    print()
                    return 0
                except KeyboardInterrupt:
                    print()
                    continue
                if line.lower() in _QUIT:
                    return 0
                if line == "\\pager":
                    self._has_pager = not self._has_pager
                    print(f"pager {'on' if self._has_pager else 'off'}")
                elif line:
                    self._perform(line)

    def _perform(self, line: str) -> None:
        try:
            self._show(line)
        except Closed:
            self._perform_anew(line)
        except KeyboardInterrupt:
            print("\ninterrupted; the server may go on with it")
            if self._connect_anew() and self._in_transaction:
                print("the transaction is lost")
                self._in_transaction = False

    def _perform_anew(self, line: str) -> None:
        """The server had closed the session, most likely because nobody typed."""
        if not self._connect_anew():
            return
        try:
            if not self._in_transaction:
                self._show(line)
                return
            print("the server had closed the session: its transaction is lost, and the command was not done")
            self._in_transaction = False
        except Closed as error:
            print(error)

    def _connect_anew(self) -> bool:
        self._client.close()
        try:
            self._client = self._reconnect()
        except Unreachable as error:
            print(error)
            return False
        return True

    def _show(self, line: str) -> None:
        status = self._client.send(line)
        lines = self._client.lines()
        if not status.is_good:
            print(f"ERROR: {status.text}")
        self._print(lines)
        if status.is_good and status.text:
            print(f"({status.text})")
        words = " ".join(line.lower().split())
        if status.is_good and words.startswith(_BEGIN):
            self._in_transaction = True
        elif status.is_good and words in _END:
            self._in_transaction = False

    def _print(self, lines: Iterable[str]) -> None:
        if not self._has_pager:
            for line in lines:
                print(line)
            return
        text = "".join(f"{line}\n" for line in lines)
        command = shlex.split(os.environ.get("PAGER") or "less -FRX")
        try:
            subprocess.run(command, input=text.encode(), check=False)  # noqa: S603 - the user's own choice
        except OSError:
            print(text, end="")

    # --- history and completion

    @contextmanager
    def _readline(self) -> Iterator[None]:
        try:
            import readline
        except ImportError:  # a Python without it
            yield
            return
        history = history_file()
        try:
            readline.read_history_file(history)
        except OSError:
            pass
        readline.set_history_length(_HISTORY_LINES)
        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t")
        readline.parse_and_bind("tab: complete")
        try:
            yield
        finally:
            readline.set_completer(None)
            try:
                history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                before = os.umask(0o077)
                try:
                    readline.write_history_file(history)
                finally:
                    os.umask(before)
            except OSError as error:
                print(f"the history can't be kept: {error.strerror}", file=sys.stderr)

    def _complete(self, _text: str, number: int) -> str | None:
        if number == 0:
            import readline

            line = readline.get_line_buffer()[: readline.get_endidx()].lstrip()
            try:
                status, lines = self._client.call(f"complete {line}")
                self._found = [f"{line} " for line in lines] if status.is_good else []  # readline adds no blank
            except (Closed, OSError, ValueError):
                self._found = []
            except KeyboardInterrupt:  # half an answer may be left: the next command connects anew
                self._client.close()
                self._found = []
        return self._found[number] if number < len(self._found) else None


def history_file() -> Path:
    """Where lines that were typed are kept: in the folder for state of the XDG specification."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "gsmtp" / "console_history"


def _banner(client: Client) -> str:
    facts = client.facts
    lines = [
        f"gsmtp {facts.get('version', '')} console",
        f"{facts.get('hostname', '')}, as {facts.get('user', '')}",
        "help lists the commands, TAB completes, quit ends the session",
    ]
    width = max(len(line) for line in lines)
    frame = "#" * (width + 4)
    return "\n".join((frame, *(f"# {line:<{width}} #" for line in lines), frame))
