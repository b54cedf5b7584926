"""`gsmtp queue retry|hold|release|bounce|delete`: asks the running server, or changes the spool when none runs."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from functools import partial
from typing import Any

from gsmtp.cli._console_client import Client, Closed, Place, Unreachable
from gsmtp.cli._queue_filters import conf_and_ids, selection
from gsmtp.cli.console import configured
from gsmtp.core.errors import ConfigError
from gsmtp.spool.actions import ACTIONS, Action, Changed
from gsmtp.spool.filters import words
from gsmtp.spool.inspect import NoSpool
from gsmtp.spool.inspect_all import Inspectors, folders, is_any_in_use
from gsmtp.spool.offline import change
from gsmtp.spool.selection import Selection


def run_change(args: argparse.Namespace, base: str, conf: str | None, ids: list[str]) -> int:
    """Do it. 1 when nothing was changed that was named, something was busy, or it can't be done."""
    action = ACTIONS[args.action]
    meant = selection(args, ids)
    if meant.is_everything and not args.all:
        raise ConfigError(f"which messages shall be {action.past}? give ids or filters, or --all")
    if args.dry_run or (not ids and not args.yes):
        fitting, messages = _count(base, meant, action)
        if args.dry_run:
            _tell(args, action, {"would_change": fitting, "messages": messages}, _would(action, fitting, messages))
            return 0
        if not _agrees(action, fitting, messages):
            return 1
    data = _ask_server(args, conf, meant, action) if is_any_in_use(base) else _do(base, meant, action)
    _tell(args, action, data, sentence(action, data))
    return 1 if data["busy"] or "not_done" in data or (ids and not data["changed"]) else 0


def _count(base: str, meant: Selection, action: Action) -> tuple[int, int]:
    """Recipients and messages that would be changed."""
    inspector = Inspectors(base)
    recipients = messages = 0
    last = ""
    try:
        for one in inspector.selected(meant):
            if one.state in action.states:
                recipients += 1
                messages += one.message_id != last
                last = one.message_id
    finally:
        inspector.close()
    return recipients, messages


def _would(action: Action, recipients: int, messages: int) -> str:
    done = action.past.removeprefix("to be ")
    return f"{_plural(recipients, 'recipient')} of {_plural(messages, 'message')} would be {done}"


def _agrees(action: Action, recipients: int, messages: int) -> bool:
    if not recipients:
        print("nothing fits", file=sys.stderr)
        return False
    if not sys.stdin.isatty():
        raise ConfigError(f"{_would(action, recipients, messages)}: say --yes, or --dry-run to see only")
    answer = input(f"{_would(action, recipients, messages)}. Go on? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _ask_server(args: argparse.Namespace, conf: str | None, meant: Selection, action: Action) -> dict[str, Any]:
    """Have the running server do it. Raises ConfigError when it can't be asked."""
    if args.socket:
        endpoint = args.socket
    elif conf is None:
        raise ConfigError("a server uses this spool: name its configuration, or --socket of its console, to ask it")
    else:
        endpoint = configured(conf)
    place = Place.parse(endpoint)
    try:
        client = Client(place)
    except Unreachable as error:
        raise ConfigError(f"a server uses this spool, and its console can't be asked: {error}") from None
    try:
        if client.needs_login:
            client.log_in(place.user or getpass.getuser(), lambda: getpass.getpass("Password:"))
        line = " ".join(_quoted(word) for word in ("queue", action.name, *words(meant)))
        status = client.send(f"json {line}")
        text = "\n".join(client.lines())
    except (Closed, Unreachable) as error:
        raise ConfigError(f"the server's console ended the session: {error}") from None
    finally:
        client.close()
    found: dict[str, Any] = json.loads(text)
    if "changed" not in found:
        raise ConfigError(f"the server says: {status.text or text}")
    if not status.is_good:  # done by some of its workers
        found["not_done"] = status.text
        print(f"gsmtp: {status.text}", file=sys.stderr)
    return found


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _do(base: str, meant: Selection, action: Action) -> dict[str, Any]:
    total = Changed()
    for folder in folders(base):
        try:
            done = change(folder, meant, action, getpass.getuser(), partial(_progress, total.changed))
        except NoSpool:  # a worker that never took mail
            continue
        total.changed += done.changed
        total.messages += done.messages
        total.busy += done.busy
        total.passed_over += done.passed_over
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return as_data(action, total)


def _progress(before: int, done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{before + done:,} recipients", end="", file=sys.stderr, flush=True)


def as_data(action: Action, done: Changed) -> dict[str, Any]:
    """As the console's `queue` commands give it."""
    return {
        "action": action.name,
        "changed": done.changed,
        "messages": done.messages,
        "busy": done.busy,
        "passed_over": done.passed_over,
    }


def sentence(action: Action, data: dict[str, Any]) -> str:
    """What came of it, for people."""
    text = f"{_plural(data['changed'], 'recipient')} of {_plural(data['messages'], 'message')} {action.past}"
    if data["busy"]:
        text += f"; {data['busy']} busy: being delivered just now, and as before"
    if data["passed_over"]:
        text += f"; {data['passed_over']} passed over: only {' or '.join(action.states)} ones can be"
    return text


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tell(args: argparse.Namespace, action: Action, data: dict[str, Any], text: str) -> None:
    print(json.dumps(data) if args.json else text)


def add_change(parser: argparse.ArgumentParser) -> None:
    """The arguments that all changes have besides the filters."""
    parser.add_argument("--all", action="store_true", help="really all recipients, when there is no filter")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say how many it would be")
    parser.add_argument("--socket", metavar="SOCKET", help="the running server's console, when CONF doesn't name it")


__all__ = ["add_change", "conf_and_ids", "run_change"]
