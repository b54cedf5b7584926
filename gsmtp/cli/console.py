"""`gsmtp console`: the console of a running server, for people and for scripts.

Exit statuses: 0 done, 1 the command was refused or failed, 2 wrong usage, or nobody to talk to.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterable
from pathlib import Path

from gsmtp.cli._console_client import DEFAULT_SOCKET, Client, Closed, Place, Unreachable, looks_like_endpoint
from gsmtp.config.diagnostics import Problems
from gsmtp.config.render import render
from gsmtp.config.source import read
from gsmtp.config.tree import Scalar
from gsmtp.core.errors import ConfigError

EXAMPLES = """\
examples:
  gsmtp console                                  work the server whose socket is /run/gsmtp/control
  gsmtp console /tmp/2025                        another one's; with completion (TAB) and history
  gsmtp console summary                          one command, for scripts
  gsmtp console --json show inbound              its data as JSON
  gsmtp console alice@10.0.0.5:2025 config get hostname
                                                 by TCP, with a login
  gsmtp console --config ecelerity.conf config reload
                                                 the socket that this configuration names
  echo 'config get hostname' | gsmtp console     commands from a pipe, one a line

The first word is taken for a socket when it is a path, host:port, user@… or a number (a socket in /tmp).
"""

GOOD, REFUSED, NOBODY = 0, 1, 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "console",
        help="work a running server",
        usage="gsmtp console [options] [SOCKET] [COMMAND …]",
        description="Work a running server from its console. Without COMMAND and with a terminal: interactively.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="show the data of commands as JSON")
    parser.add_argument("--config", metavar="CONF", help="the server's configuration, which names the socket")
    parser.add_argument("--socket", metavar="SOCKET", help="the socket, when the first word could be a command")
    parser.add_argument("--password-file", metavar="FILE", help="holds the password of a login, in its first line")
    parser.add_argument("--commands", action="store_true", help="list the commands of this version; no server needed")
    parser.add_argument("--markdown", action="store_true", help="with --commands: as docs/commands.md")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one command, those of standard input, or a person's."""
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    if args.commands:
        return _list_commands(args.markdown)
    words = list(args.words)
    if words[:1] == ["--"]:
        words = words[1:]
    try:
        place = _place(args, words)
    except ConfigError as error:
        print(f"gsmtp: {error}", file=sys.stderr)
        return NOBODY
    if "--json" in (*words[:1], *words[-1:]):  # said behind the socket, or last
        words.remove("--json")
        args.json = True
    is_for_people = not words and sys.stdin.isatty() and not args.json
    password = _Password(args.password_file, is_for_people or sys.stdin.isatty())

    def connect() -> Client:
        client = Client(place)
        if client.needs_login:
            client.log_in(place.user or getpass.getuser(), password.get)
        return client

    try:
        client = connect()
    except Unreachable as error:
        print(f"gsmtp: {error}", file=sys.stderr)
        return NOBODY
    if is_for_people:
        from gsmtp.cli._interactive import Interactive

        return Interactive(client, connect).run()
    try:
        if words:
            return _perform(client, _line(words), args.json)
        return max((_perform(client, line, args.json) for line in _piped()), default=GOOD)
    except Closed as error:
        print(f"gsmtp: {error}", file=sys.stderr)
        return NOBODY
    finally:
        client.close()


class _Password:
    """Asked for once, and used for every login of this run."""

    def __init__(self, path: str | None, may_ask: bool) -> None:
        self._path = path
        self._may_ask = may_ask
        self._known: str | None = None

    def get(self) -> str:
        """The password. Raises Unreachable."""
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> str:
        if self._path is not None:
            try:
                return Path(self._path).read_text(encoding="utf-8").split("\n")[0].removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                raise Unreachable(f"{self._path} can't be read: {error}") from None
        if not self._may_ask:
            raise Unreachable("a login is wanted, and nobody is there to ask: use --password-file")
        print("Authorization required for console session", file=sys.stderr)
        try:
            return getpass.getpass("Password:")
        except EOFError:
            raise Unreachable("no password was given") from None


def _place(args: argparse.Namespace, words: list[str]) -> Place:
    """Where the console is; an endpoint at the front of the words is taken away."""
    if args.socket:
        return Place.parse(args.socket)
    if words and looks_like_endpoint(words[0]):
        return Place.parse(words.pop(0))
    return Place.parse(configured(args.config) if args.config else DEFAULT_SOCKET)


def configured(conf: str) -> str:
    """The socket that a configuration opens for the console, a Unix one if there is one. Raises ConfigError."""
    problems = Problems()
    tree = read(conf, problems)
    if problems.has_errors:
        sys.stderr.write(render(list(problems), tree))
        raise ConfigError(f"{conf} can't be read; name the socket itself")
    names = []
    for listener in tree.root.all("control_listener"):
        for listen in listener.all("listen"):
            setting = listen.settings.get("enable") or listener.settings.get("enable")
            if setting is None or not isinstance(setting.value, Scalar) or setting.value.text.lower() != "false":
                names.append(listen.spelled or "")
    if not names:
        raise ConfigError(f'{conf} opens no console: add Control_Listener {{ Listen "{DEFAULT_SOCKET}" {{ }} }}')
    return next((name for name in names if "/" in name), names[0])


def _line(words: list[str]) -> str:
    """The command; words that the shell kept together stay together."""
    return words[0] if len(words) == 1 else " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and not any(char.isspace() or char in "\"'" for char in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _piped() -> Iterable[str]:
    for line in sys.stdin:
        text = line.strip()
        if text.lower() in ("quit", "exit"):
            return
        if text and not text.startswith("#"):
            yield text


def _perform(client: Client, line: str, as_json: bool) -> int:
    if "\n" in line:
        print("gsmtp: a command is one line", file=sys.stderr)
        return REFUSED
    status = client.send(f"json {line}" if as_json else line)
    if status.is_good:
        for text in client.lines():
            print(text)
        if status.text:  # a worker had no part in it
            print(status.text, file=sys.stderr)
        return GOOD
    lines = list(client.lines())
    if as_json and lines and not lines[0].startswith('{"error": '):  # done in part
        print("\n".join(lines))
    print("\n".join((status.text, *(lines if not as_json else ()))), file=sys.stderr)
    return REFUSED


def _list_commands(as_markdown: bool) -> int:
    from gsmtp.app.wiring import load
    from gsmtp.control.commands.help import first_sentence, sorted_commands

    load()
    if not as_markdown:
        for one in sorted_commands():
            print(f"{one.syntax:<45} {first_sentence(one.help)}")
        return GOOD
    print("# Commands of the console\n")
    print("Made by `gsmtp console --commands --markdown` (`make docs`). How to get there: [console.md](console.md).\n")
    print("| command | what it does |\n| --- | --- |")
    for one in sorted_commands():
        syntax, text = (part.replace("|", "\\|") for part in (one.syntax, one.help))
        print(f"| `{syntax}` | {text} |")
    return GOOD
