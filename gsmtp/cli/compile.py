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

--guided takes three times as long: it compiles, has the result serve some mail on loopback, and compiles again for what
was counted there. With gcc only; short messages become 2 to 9 per cent cheaper.

examples:
  gsmtp compile                  compile, unless what there is is up to date
  gsmtp compile --guided         the same, guided by a profile, for a server that has much to do
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
    parser.add_argument("--guided", action="store_true", help="compile twice, guided by a profile (needs gcc)")
    parser.add_argument("--force", action="store_true", help="compile although what there is is up to date")
    parser.add_argument("--if-possible", action="store_true", help="succeed, with a word, where a tool is missing")
    parser.add_argument("--status", action="store_true", help="only say what would run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, or say what there is."""
    modules, reason = compiled.state()
    is_guided = bool(modules) and compiled.is_guided()
    how = "compiled, guided by a profile" if is_guided else "compiled"
    if args.status:
        if args.json:
            told = {"compiled": bool(modules), "guided": is_guided, "modules": sorted(modules), "reason": reason}
            print(json.dumps(told, indent=2))
        else:
            print(f"{len(modules) - 1} modules run {how}" if modules else f"all runs in Python: {reason}")
        return 0
    is_complete = modules.keys() - {compiled.GROUP} == set(compiling.MODULES) and (is_guided or not args.guided)
    if is_complete and not args.force:
        print(f"{len(modules) - 1} modules are {how}{', ' if is_guided else ' '}and up to date")
        return 0
    began = time.monotonic()
    try:
        count = compiling.compile_modules(_tell, is_guided=args.guided)
    except (compiling.CannotCompile, OSError) as error:
        now = "what was compiled before stays" if modules else "all runs in Python"
        print(f"gsmtp: not compiled, {now}: {error}", file=sys.stderr)
        return 0 if args.if_possible and isinstance(error, compiling.CannotCompile) else 1
    print(f"{count} modules compiled in {time.monotonic() - began:.0f} s")
    return 0


def _tell(step: str) -> None:
    print(step, file=sys.stderr, flush=True)
