"""`gsmtp options [NAME]`: what the options do, from their declarations."""

from __future__ import annotations

import argparse
import json
import sys

from gsmtp.app.wiring import load
from gsmtp.config import reference
from gsmtp.config.accepted import ACCEPTED
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS
from gsmtp.config.suggest import did_you_mean
from gsmtp.core.errors import ConfigError

EXAMPLES = """\
examples:
  gsmtp options                  all options, with defaults and scopes
  gsmtp options idle_time        one of them
  gsmtp options listen           a stanza, and the options that may stand in it
  gsmtp options --markdown       the reference page, docs/options.md
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "options",
        help="what the options do",
        description="Show the options reference, from the declarations in the code.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an option or a stanza, in any case")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument("--markdown", action="store_true", help="the whole reference as a page")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the reference, or one name's entry."""
    load()
    if args.name is not None and not reference.data(args.name):
        raise ConfigError(_unknown(args.name))
    if args.json:
        print(json.dumps(reference.data(args.name), indent=2))
    elif args.markdown:
        sys.stdout.write(reference.markdown())
    else:
        sys.stdout.write(reference.overview() if args.name is None else reference.describe(args.name))
    return 0


def _unknown(name: str) -> str:
    known = [*(option.name for option in OPTIONS), *(row.name for row in ACCEPTED), *(one.word for one in STANZAS)]
    hint = did_you_mean(name, known)
    return f"there is no option or stanza '{name}'" + (f"; {hint}" if hint else "")
