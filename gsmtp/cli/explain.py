"""`gsmtp explain FILE PLACE [OPTION]`: which value holds somewhere, and which line says so."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gsmtp.app.wiring import load
from gsmtp.config import accepted
from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problems, Severity
from gsmtp.config.locate import Place, locate
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.reference import plain_value, shown_value
from gsmtp.config.render import render
from gsmtp.config.scopes import Configuration, compile_tree
from gsmtp.config.source import read
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.titles import scope_title, scope_word, scopes_of
from gsmtp.config.tree import Scope
from gsmtp.core.errors import ConfigError

EXAMPLES = """\
places:
  'esmtp_listener listen :25 peer 10.0.0.1'    a client of a socket; all Peer stanzas that match it take part
  'esmtp_listener listen :25'                  a socket, for clients that no Peer stanza matches
  'domain example.com'                         mail to a domain
  'threadpool io', 'maildir local', security   a stanza's own options
  ''                                           the global scope

examples:
  gsmtp explain ecelerity.conf 'esmtp_listener listen :25 peer 10.0.0.1' max_message_size
  gsmtp explain ecelerity.conf 'esmtp_listener listen :25'
  gsmtp explain ecelerity.conf 'domain example.com' --json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "explain",
        help="which value holds, and which line says so",
        description="Show the effective value of an option at a place, the line that sets it, and the scopes asked.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="an ecelerity.conf, or the same tree in YAML")
    parser.add_argument("place", metavar="PLACE", help="scope words with their names, in one argument")
    parser.add_argument("option", nargs="?", metavar="OPTION", help="an option; without it, all that hold there")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the value or the values. 1 when the file has errors or there is no such place or option."""
    load()
    configuration = _load(args.file)
    place = locate(configuration, args.place)
    if args.option is None:
        found = [_Explained(place, option) for option in place.options()]
        sys.stdout.write(json.dumps([one.data() for one in found], indent=2) + "\n" if args.json else _table(found))
        return 0
    option = place.option(args.option)
    if option is None:
        raise ConfigError(_not_there(place, args.option))
    one = _Explained(place, option)
    sys.stdout.write(json.dumps(one.data(), indent=2) + "\n" if args.json else one.text())
    return 0


def _load(path: str) -> Configuration:
    problems = Problems()
    tree = read(path, problems)
    check(tree, problems)
    if problems.has_errors:
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        sys.stderr.write(render(errors, tree))
        raise ConfigError(f"{path} can't be used as it is")
    return compile_tree(tree)


def _not_there(place: Place, name: str) -> str:
    rows = [row for kind in place.kinds if (row := accepted.find(kind, name)) is not None]
    if rows:
        return f"option {name} is not served: {rows[0].reason}"
    elsewhere = scopes_of(name)
    if elsewhere:
        return f"option {name} has no meaning there; is valid in: " + ", ".join(scope_word(kind) for kind in elsewhere)
    hint = did_you_mean(name, place.names()) or did_you_mean(name, (option.name for option in OPTIONS))
    return f"there is no option '{name}'" + (f"; {hint}" if hint else "")


class _Explained:
    """One option at one place."""

    def __init__(self, place: Place, option: Option[Any]) -> None:
        origin = place.view.origin(option)
        self.option = option
        self.setting = origin.setting
        self.scope = origin.scope
        self.walked = origin.walked
        self.value = origin.value if origin.setting is not None else place.default(option)

    def where(self) -> str:
        """The place of the line that sets the value, or that it is the default."""
        return str(self.setting.span) if self.setting is not None else "built-in default"

    def text(self) -> str:
        """For a terminal: value, place, and every scope that was asked."""
        lines = [f"{self.option.name} = {shown_value(self.option, self.value)}"]
        if self.setting is not None and self.scope is not None:
            lines.append(f"  set at {self.where()}, in {_full_title(self.scope)}")
        else:
            lines.append("  built-in default: no scope sets it")
        if self.option.unserved:
            lines.append(f"  not served: {self.option.unserved}")
        lines.append("  asked, most specific first:")
        lines += [f"    {_full_title(scope)}: {self._answer(scope)}" for scope in self.walked]
        return "\n".join(lines) + "\n"

    def _answer(self, scope: Scope) -> str:
        names = (self.option.key, *(alias.lower() for alias in self.option.aliases))
        setting = next((scope.settings[name] for name in names if name in scope.settings), None)
        if scope.kind not in self.option.scopes:
            return "can't be set there"
        return "not set" if setting is None else f"set at {setting.span}"

    def data(self) -> dict[str, Any]:
        """For programs."""
        setting = self.setting
        return {
            "option": self.option.name,
            "value": plain_value(self.option.kind, self.value),
            "unit": self.option.unit,
            "default": setting is None,
            "set_at": None
            if setting is None
            else {"file": setting.span.file, "line": setting.span.line, "column": setting.span.column},
            "scope": None if self.scope is None else _full_title(self.scope),
            "walked": [_full_title(scope) for scope in self.walked],
            "served": not self.option.unserved,
        }


def _full_title(scope: Scope) -> str:
    """A scope and what it stands in: ``Peer "10.0.0.1" in Listen ":25"``."""
    title = scope_title(scope)
    parent = scope.parent
    if parent is not None and parent.parent is not None and parent.spelled is not None:
        return f"{title} in {scope_title(parent)}"
    return title


def _table(found: list[_Explained]) -> str:
    rows = [(one.option.name, shown_value(one.option, one.value), one.where()) for one in found]
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(max((len(value) for _, value, _ in rows), default=0), 48)
    return "".join(f"{name:<{names}}  {value:<{values}}  {where}\n" for name, value, where in rows)
