"""`gsmtp queue list|show`: what is in the spool, beside a running server or without one.

Reads only. Output streams: a queue of a million messages is listed in constant memory.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from gsmtp.config.diagnostics import Problems
from gsmtp.config.render import render
from gsmtp.config.source import read
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.spool.base import QueuedMessage, QueuedRecipient, State
from gsmtp.spool.inspect import Inspector, NoSpool
from gsmtp.spool.options import SPOOLBASE

EXAMPLES = """\
examples:
  gsmtp queue list ecelerity.conf                    all messages, oldest first
  gsmtp queue list ecelerity.conf --state dead       those an operator has to look at
  gsmtp queue list --spool /var/spool/gsmtp --domain example.com --limit 20
  gsmtp queue list ecelerity.conf --json | jq -r 'select(.size > 1000000) | .id'
  gsmtp queue show ecelerity.conf 00/2A-01234-0000001F

Without CONF and --spool the default spool is used. Times in JSON are seconds since the epoch.
"""

_ID = re.compile(r"[0-9A-Fa-f]{2}/[0-9A-Fa-f]{2}-\d{5}-[0-9A-Fa-f]{8}")
_ROW = "{:<20}  {:>5}  {:>9}  {:<9}  {:<8}  {:<28}  {:<32}  {}"
_HEADER = _ROW.format("ID", "AGE", "SIZE", "STATE", "NEXT TRY", "SENDER", "RECIPIENT", "LAST REPLY")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "queue",
        help="what waits in the spool, and what failed",
        description="Show what is in the spool. Nothing is changed; the server may run meanwhile.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all messages, oldest first, or some of them")
    listing.add_argument("conf", metavar="CONF", nargs="?", help="the server's configuration, which names the spool")
    listing.add_argument("--state", choices=(State.QUEUED, State.DEAD), help="only messages with such a recipient")
    listing.add_argument("--domain", metavar="D", help="only messages with a recipient of that domain")
    listing.add_argument("--limit", metavar="N", type=_positive, default=0, help="at most so many messages")
    showing = actions.add_parser("show", help="everything about some messages")
    showing.add_argument("ids", metavar="[CONF] ID", nargs="+", help="message ids, as the 250 and the logs say them")
    for action in (listing, showing):
        action.add_argument("--spool", metavar="DIR", help="the spool's directory, instead of CONF")
        action.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. 1 when an id is not in the spool, or the spool can't be read."""
    # Client text that is not UTF-8, or an ASCII terminal, must not end a listing half-way.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    return _list(args) if args.action == "list" else _show(args)


def spool_directory(conf: str | None, spool: str | None) -> str:
    """The directory that the command line means. Raises ConfigError when the file has errors."""
    if spool:
        return spool
    if conf is None:
        return SPOOLBASE.default
    problems = Problems()
    tree = read(conf, problems)
    if problems.has_errors:
        sys.stderr.write(render(list(problems), tree))
        raise ConfigError(f"{conf} can't be read; --spool DIR works without it")
    return View((tree.root,))[SPOOLBASE]


@contextmanager
def _inspector(base: str) -> Iterator[Inspector | None]:
    """The spool, or None after telling that there is none."""
    try:
        inspector = Inspector(base)
    except NoSpool as error:
        print(f"{error}: it is made when the server first starts", file=sys.stderr)
        yield None
        return
    try:
        yield inspector
    finally:
        inspector.close()


def _list(args: argparse.Namespace) -> int:
    with _inspector(spool_directory(args.conf, args.spool)) as inspector:
        if inspector is None:
            return 0
        messages = inspector.messages(state=args.state or "", domain=(args.domain or "").lower(), limit=args.limit)
        if args.json:
            for message in messages:
                print(json.dumps(_data(message)))
            return 0
        count = _table(messages)
        filtered = args.state or args.domain
        if not count:
            print("no message matches" if filtered else "the queue is empty")
        else:
            print(f"{count} message{'s' if count > 1 else ''}" + (" (limit)" if count == args.limit else ""))
        return 0


def _table(messages: Iterable[QueuedMessage]) -> int:
    count = 0
    for message in messages:
        if not count:
            print(_HEADER)
        count += 1
        envelope = message.envelope
        now = time.time()
        id_, sender = envelope.message_id, f"<{_clean(envelope.reverse_path)}>"
        age, size = _span(now - envelope.received_wall), _size(envelope.size_bytes)
        for recipient in message.recipients:
            row = _ROW.format(
                id_,
                age,
                size,
                recipient.state,
                _next_try(recipient, now),
                sender,
                _clean(recipient.address),
                _clean(recipient.reply),
            )
            print(row.rstrip())
            id_ = age = size = sender = ""
    return count


def _show(args: argparse.Namespace) -> int:
    ids: list[str] = list(args.ids)
    conf = ids.pop(0) if not args.spool and not _ID.fullmatch(ids[0]) else None
    for id_ in ids:
        if not _ID.fullmatch(id_):
            raise ConfigError(f"'{id_}' is not a message id such as 00/2A-01234-0000001F")
    if not ids:
        raise ConfigError("which message? give its id, as the 250 and the logs say it")
    missing = 0
    with _inspector(spool_directory(conf, args.spool)) as inspector:
        if inspector is None:
            return 1
        for id_ in ids:
            message = inspector.message(id_.upper())
            if message is None:
                missing += 1
                print(f"{id_} is not in the spool: delivered, or never accepted", file=sys.stderr)
            elif args.json:
                print(json.dumps(_data(message)))
            else:
                print(_details(message))
    return 1 if missing else 0


def _data(message: QueuedMessage) -> dict[str, Any]:
    envelope = message.envelope
    return {
        "id": envelope.message_id,
        "received": envelope.received_wall,
        "size": envelope.size_bytes,
        "sender": envelope.reverse_path,
        "client": envelope.client_address,
        "helo": envelope.helo,
        "protocol": envelope.protocol,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "connection": envelope.connection_id,
        "recipients": [
            {
                "index": recipient.index,
                "address": recipient.address,
                "domain": recipient.domain,
                "state": recipient.state,
                "next_try": recipient.due_wall if recipient.state == State.QUEUED else None,
                "attempts": recipient.attempts,
                "reply": recipient.reply,
                "hop": recipient.hop,
                "last_change": recipient.when_wall,
            }
            for recipient in message.recipients
        ],
    }


def _details(message: QueuedMessage) -> str:
    envelope, now = message.envelope, time.time()
    words = [envelope.body, *(["SMTPUTF8"] if envelope.smtputf8 else [])]
    words += [f"{key}={value}" for key, value in (("RET", envelope.ret), ("ENVID", envelope.envid)) if value]
    client = f" from {envelope.client_address}" if envelope.client_address else ""
    lines = [
        envelope.message_id,
        f"  received    {_moment(envelope.received_wall)}, {_span(now - envelope.received_wall)} ago",
        f"  by          {envelope.protocol}{client}, greeted as {_clean(envelope.helo) or '(nothing)'}",
        f"  connection  {envelope.connection_id}",
        f"  size        {envelope.size_bytes:,} bytes, {_clean(' '.join(words))}",
        f"  sender      <{_clean(envelope.reverse_path)}>",
    ]
    for recipient in message.recipients:
        tries = f"{recipient.attempts} attempt{'' if recipient.attempts == 1 else 's'}"
        next_try = ""
        if recipient.state == State.QUEUED:
            next_try = f", next try {_moment(recipient.due_wall)} ({_next_try(recipient, now)})"
        lines.append(f"  recipient   <{_clean(recipient.address)}> {recipient.state}, {tries}{next_try}")
        if recipient.reply:
            hop = f" from {_clean(recipient.hop)}" if recipient.hop else ""
            lines.append(f"              {_moment(recipient.when_wall)}{hop}: {_clean(recipient.reply)}")
    return "\n".join(lines) + "\n"


def _next_try(recipient: QueuedRecipient, now: float) -> str:
    if recipient.state != State.QUEUED:
        return "-"
    return "now" if recipient.due_wall <= now else f"in {_span(recipient.due_wall - now)}"


def _span(seconds_s: float) -> str:
    """A time span in at most four characters."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds_s >= length_s:
            return f"{int(seconds_s // length_s)}{unit}"
    return f"{max(int(seconds_s), 0)}s"


def _moment(wall_s: float) -> str:
    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "?"


def _size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size, units = size_bytes / 1024, ["KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def _clean(text: str) -> str:
    """Text of clients and servers without what a terminal would obey."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
