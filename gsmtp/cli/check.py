"""`gsmtp check FILE…`: judge configurations, with every problem's place and what to do about it."""

from __future__ import annotations

import argparse
import os
import sys

from gsmtp.app.wiring import load
from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problems
from gsmtp.config.files import is_yaml
from gsmtp.config.render import as_json, printable, render
from gsmtp.config.source import read
from gsmtp.config.tree import Tree

EXAMPLES = """\
examples:
  gsmtp check ecelerity.conf
  gsmtp check conf/*.conf conf/*.yaml
  gsmtp check --syntax-only ecelerity.conf.new    brackets, quotes and spelling of the language alone
  gsmtp check --json ecelerity.conf | jq '.[].problems[].message'

A good file gives one line, "FILE: ok"; warnings are shown before it. Exit status 0 when no file has an error, else 1.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="judge configurations",
        description="Read configurations, check every name, value and reference in them, and open nothing else.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="an ecelerity.conf, or the same tree in YAML")
    parser.add_argument(
        "--syntax-only", action="store_true", help="open no includes and judge neither names nor values"
    )
    parser.add_argument("--momentum", action="store_true", help="refuse what only gsmtp knows")
    parser.add_argument("--json", action="store_true", help="print one JSON list with an object for each file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the files; 0 when none has an error, else 1."""
    # Whether a YAML mapping is a stanza or a dictionary is only known from the declarations.
    if not args.syntax_only or any(is_yaml(path) for path in args.files):
        load(serving=False)
    results = []
    is_good = True
    for path in args.files:
        problems = Problems()
        tree = _judge(path, problems, syntax_only=args.syntax_only, momentum=args.momentum)
        is_good = is_good and not problems.has_errors
        if args.json:
            found = as_json(problems, tree)
            results.append({"file": printable(path), "ok": not problems.has_errors, "problems": found})
        else:
            sys.stdout.write(render(problems, tree, color=_wants_color()))
            if not problems.has_errors:
                print(f"{printable(path)}: ok")
    if args.json:
        import json  # not for those who don't ask

        print(json.dumps(results, indent=2))
    return 0 if is_good else 1


def _judge(path: str, problems: Problems, *, syntax_only: bool, momentum: bool) -> Tree:
    tree = read(path, problems, follow_includes=not syntax_only)
    if not syntax_only:
        check(tree, problems, momentum=momentum)
    return tree


def _wants_color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
