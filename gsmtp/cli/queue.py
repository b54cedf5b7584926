"""`gsmtp queue`: what is in the spool, beside a running server or without one, and what is to become of it.

Showing and exporting only read. Changes are done by the server when one runs, through its console, else by us. With
workers all of their spools are meant. Output streams: a queue of a million messages is worked in constant memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gsmtp.cli._queue_change import add_change, run_change
from gsmtp.cli._queue_export import add_export, run_export
from gsmtp.cli._queue_filters import add_filters, conf_and_ids, selection
from gsmtp.cli._queue_show import data, details, table, total_data, totals_table
from gsmtp.config.diagnostics import Problems
from gsmtp.config.render import render
from gsmtp.config.source import read
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.spool.actions import ACTIONS
from gsmtp.spool.inspect import NoSpool
from gsmtp.spool.inspect_all import Inspectors
from gsmtp.spool.options import SPOOLBASE

EXAMPLES = """\
examples:
  gsmtp queue list ecelerity.conf                    all messages, oldest first
  gsmtp queue list ecelerity.conf --state dead       those an operator has to look at
  gsmtp queue list --spool /var/spool/gsmtp --domain example.com --limit 20
  gsmtp queue list ecelerity.conf --json | jq -r 'select(.size > 1000000) | .id'
  gsmtp queue summary ecelerity.conf                 how much for which domain, and how old
  gsmtp queue show ecelerity.conf 00/2A-01234-0000001F
  gsmtp queue hold ecelerity.conf --sender news@example.net --older 2h
  gsmtp queue retry ecelerity.conf 00/2A-01234-0000001F
  gsmtp queue retry ecelerity.conf --state dead --domain example.com --yes
  gsmtp queue bounce ecelerity.conf --domain gone.example --dry-run
  gsmtp queue export ecelerity.conf --state dead --to dead-letters

Without CONF and --spool the default spool is used. Times in JSON are seconds since the epoch.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "queue",
        help="what waits in the spool, what failed, and what is to become of it",
        description="Show what is in the spool, and work it; the server may run meanwhile.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all messages, oldest first, or some of them")
    listing.add_argument("conf", metavar="CONF", nargs="?", help="the server's configuration, which names the spool")
    add_filters(listing)
    listing.add_argument("--limit", metavar="N", type=_positive, default=0, help="at most so many messages")
    summing = actions.add_parser("summary", help="recipients, sizes and ages by domain")
    summing.add_argument("conf", metavar="CONF", nargs="?", help="the server's configuration, which names the spool")
    showing = actions.add_parser("show", help="everything about some messages")
    showing.add_argument("ids", metavar="[CONF] ID", nargs="+", help="message ids, as the 250 and the logs say them")
    exporting = actions.add_parser("export", help="write messages and their envelopes to files")
    add_export(exporting)
    changing = [actions.add_parser(action.name, help=action.help) for action in ACTIONS.values()]
    for one in (exporting, *changing):
        one.add_argument("ids", metavar="[CONF] [ID …]", nargs="*", help="message ids, or filters below")
        add_filters(one)
    for one in changing:
        add_change(one)
    for one in (listing, summing, showing, exporting, *changing):
        one.add_argument("--spool", metavar="DIR", help="the spool's directory, instead of CONF")
        one.add_argument("--json", action="store_true", help="JSON, an object a line")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Do what was asked for. 1 when an id is not in the spool, or the spool can't be read or changed."""
    # Client text that is not UTF-8, or an ASCII terminal, must not end a listing half-way.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    if args.action == "list":
        return _list(args)
    if args.action == "summary":
        return _summary(args)
    conf, ids = conf_and_ids(list(args.ids), args.spool)
    base = spool_directory(conf, args.spool)
    if args.action == "show":
        return _show(args, base, ids)
    try:
        Inspectors(base).close()
    except NoSpool as error:
        print(f"{error}: it is made when the server first starts", file=sys.stderr)
        return 1 if ids else 0
    if args.action == "export":
        return run_export(args, base, ids)
    return run_change(args, base, conf, ids)


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
def _inspector(base: str) -> Iterator[Inspectors | None]:
    """The spool, or None after telling that there is none."""
    try:
        inspector = Inspectors(base)
    except NoSpool as error:
        print(f"{error}: it is made when the server first starts", file=sys.stderr)
        yield None
        return
    try:
        yield inspector
    finally:
        inspector.close()


def _list(args: argparse.Namespace) -> int:
    meant = selection(args)
    with _inspector(spool_directory(args.conf, args.spool)) as inspector:
        if inspector is None:
            return 0
        messages = inspector.messages(meant, limit=args.limit)
        if args.json:
            for message in messages:
                print(json.dumps(data(message)))
            return 0
        count = table(messages)
        if not count:
            print("the queue is empty" if meant.is_everything else "no message matches")
        else:
            print(f"{count} message{'s' if count > 1 else ''}" + (" (limit)" if count == args.limit else ""))
        return 0


def _summary(args: argparse.Namespace) -> int:
    with _inspector(spool_directory(args.conf, args.spool)) as inspector:
        if inspector is None:
            return 0
        found = inspector.totals()
        for line in [json.dumps(total_data(one)) for one in found] if args.json else totals_table(found):
            print(line)
        return 0


def _show(args: argparse.Namespace, base: str, ids: list[str]) -> int:
    if not ids:
        raise ConfigError("which message? give its id, as the 250 and the logs say it")
    missing = 0
    with _inspector(base) as inspector:
        if inspector is None:
            return 1
        for id_ in ids:
            message = inspector.message(id_)
            if message is None:
                missing += 1
                print(f"{id_} is not in the spool: delivered, or never accepted", file=sys.stderr)
            elif args.json:
                print(json.dumps(data(message)))
            else:
                print(details(message))
    return 1 if missing else 0
