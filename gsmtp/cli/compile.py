"""`gsmtp compile`: compile the engine for this machine, which makes it about twice as fast."""

from __future__ import annotations

import argparse
import json
import sys
import time

from gsmtp import compiled, compiling

EXAMPLES = """\
Needs a C compiler, Python's headers and `pip install 'gsmtp[compile]'`; takes about a minute. The same sources run
faster afterwards, and nothing else changes. A source that is edited later is noticed: everything then runs in Python
again until the next compile. GSMTP_PURE=1 in the environment leaves compiled modules aside.

examples:
  gsmtp compile                  compile, unless what there is is up to date
  gsmtp compile --force          compile in any case
  gsmtp compile --status         what would run, and why
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "compile",
        help="compile the engine for this machine",
        description="Compile the modules that mail goes through, with mypyc.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--force", action="store_true", help="compile although what there is is up to date")
    parser.add_argument("--if-possible", action="store_true", help="succeed, with a word, where a tool is missing")
    parser.add_argument("--status", action="store_true", help="only say what would run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, or say what there is."""
    modules, reason = compiled.state()
    if args.status:
        if args.json:
            print(json.dumps({"compiled": bool(modules), "modules": sorted(modules), "reason": reason}, indent=2))
        else:
            print(f"{len(modules) - 1} modules run compiled" if modules else f"all runs in Python: {reason}")
        return 0
    if modules.keys() - {compiled.GROUP} == set(compiling.MODULES) and not args.force:
        print(f"{len(modules) - 1} modules are compiled and up to date")
        return 0
    began = time.monotonic()
    try:
        compiling.check_tools()
        print(f"compiling {len(compiling.MODULES)} modules, about a minute …", file=sys.stderr, flush=True)
        count = compiling.compile_modules()
    except compiling.CannotCompile as error:
        print(f"gsmtp: not compiled, all runs in Python: {error}", file=sys.stderr)
        return 0 if args.if_possible else 1
    except OSError as error:
        print(f"gsmtp: not compiled, all runs in Python: {error}", file=sys.stderr)
        return 1
    print(f"{count} modules compiled in {time.monotonic() - began:.0f} s")
    return 0
